"""Validation of what no schema can say: an order's total is the sum of its items."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import inputs
from wit_world.imports.types import Refusal, Request, Violation

MOST_ITEMS = 500
MOST_CENTS = 10**12


class state:
    """What `configure` leaves for `check`: kept by the module, for `self` is another one in every call."""

    method = most = 0


class Validation(exports.Validation):
    def configure(self, settings: str) -> None:
        state.most = json.loads(settings).get("most", 1_000_000)
        if type(state.most) is not int:
            raise Err("`most` is no whole number")
        state.method = inputs.method()
        inputs.body(65_536, ["application/json"])

    def check(self, request: Request) -> None:
        if request.values[state.method] not in ("POST", "PUT"):
            return
        violations = list(faults(request.body or b""))
        if violations:
            raise Err(Refusal(422, "The order does not add up", None, None, [], violations))


def parsed(body: bytes):
    """A JSON text of no more nesting than an order can have: deeper ones cost Python's parser all of its stack."""
    if body.count(b"[") + body.count(b"{") > MOST_ITEMS + 2:
        raise ValueError(f"more than {MOST_ITEMS} items")
    try:
        return json.loads(body)
    except ValueError:
        raise ValueError("the body is no JSON") from None


def whole(value, name: str) -> int:
    """A field of an object, not so large that Python refuses to write a sum of products: that takes 4,300 digits."""
    if type(value) is not dict:
        raise ValueError(f"no object with `{name}`")
    if name not in value:
        raise ValueError(f"`{name}` is missing")
    number = value[name]
    if type(number) is not int or abs(number) > MOST_CENTS:
        raise ValueError(f"`{name}` is no whole number of at most {MOST_CENTS}")
    return number


def faults(body: bytes):
    """What is wrong with an order, one by one; amounts are whole cents."""
    try:
        order = parsed(body)
        total, items = whole(order, "total"), order.get("items")
        if type(items) is not list:
            raise ValueError("`items` is no list")
        amounts = [whole(item, "price") * whole(item, "quantity") for item in items]
    except ValueError as fault:
        yield Violation("body", "", f"is no order: {fault}")
        return
    for index, amount in enumerate(amounts):
        if amount <= 0:
            yield Violation("body", f"/items/{index}", "costs nothing")
    if total != sum(amounts):
        yield Violation("body", "/total", f"is {total}, and the items cost {sum(amounts)}")
    elif total > state.most:
        yield Violation("body", "/total", f"is more than {state.most}")
