//! Small plugins, written as the text of a core module: hostile ones too.
//!
//! [`guest`] takes fields of a module in WAT and puts the prelude (`guest/prelude.wat`) before them and the exports of the
//! contract behind them. What a guest is follows from the functions that it defines:
//!
//! | it defines | it is called | it answers the address of |
//! | --- | --- | --- |
//! | `(func $identify (result i32) …)` | as an auth plugin | `result<option<grant>, refusal>` |
//! | `(func $check (result i32) …)` | as a validation plugin | `result<_, refusal>` |
//! | `(func $route (result i32) …)` | as a routing plugin | `result<decision, refusal>` |
//! | `(func $configure (result i32) …)` | once, for every stage; need not be there | `result<_, string>` |
//!
//! The prelude makes these answers: `$ok` (also "no credential of mine"), `$respond STATUS TEXT LENGTH`, `$forward SERVICE
//! LENGTH`, `$refuse STATUS TITLE LENGTH`, `$grant SUBJECT LENGTH`, `$fault TEXT LENGTH` (for `$configure`), with header fields
//! by `$field NAME LENGTH VALUE LENGTH` and `$fields OFFSET`. It tells what the call is about: `$has SLOT`, `$value SLOT` with
//! `$value-length SLOT`, `$body` with `$body-length`, `$headers` with `$headers-count`, and in `$configure` the settings as
//! `$settings` with `$settings-length` (all of them globals or functions; read it). Answers are built at `$answer`, 256 bytes of
//! zeros at the start of each call, which a guest may fill by itself for what the prelude does not know; offsets are in the
//! prelude. Texts of a guest belong at 4096 to 16383; the heap is behind 65536 and is empty again after each call, so that a
//! guest may be called for ever.
//!
//! Imports are fields like others, and are put first: `(import "gatewright:policy/inputs@0.1.0" "header" (func $header
//! (param i32 i32) (result i32)))`. A text parameter is two `i32`, address and length; a slot an `i32`; `f64` and `u32` as they
//! are. The module is then made a component by `wit-component`, against the contract in `wit/`.
//!
//! [`component`] takes a whole core module instead, for guests that want another `cabi_realloc` or no memory;
//! [`component_of`] takes a WIT package of the guest's own besides, for guests of the wrong shape. [`hostile`] takes a file of
//! `guests/`, which is a text in any of these forms.

use std::path::{Path, PathBuf};

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// What every guest begins with.
const PRELUDE: &str = include_str!("guest/prelude.wat");
/// The contract.
const CONTRACT: &str = include_str!("../../wit/v0.1/policy.wit");

/// A stage's interface, its function, and what a guest calls that.
const STAGES: [(&str, &str, &str); 3] =
    [("auth", "identify", "$identify"), ("validation", "check", "$check"), ("routing", "route", "$route")];

/// The component of a guest; see the module.
///
/// # Panics
/// It is no guest.
#[must_use]
pub fn guest(text: &str) -> Vec<u8> {
    let fields = fields(text);
    let defines = |name: &str| fields.iter().any(|field| words(field).starts_with(&["func", name].map(str::to_owned)));
    let (imports, others): (Vec<&str>, Vec<&str>) = fields.iter().partition(|field| field.starts_with("(import"));
    let mut module = format!("(module\n{}\n{PRELUDE}\n{}\n", imports.join("\n"), others.join("\n"));
    if !defines("$configure") {
        module.push_str("(func $configure (result i32) (call $ok))\n");
    }
    let stages: Vec<_> = STAGES.iter().filter(|(_, _, name)| defines(name)).collect();
    for (stage, function, name) in &stages {
        module.push_str(&exports(stage, function, name));
    }
    module.push(')');
    component(&stages.iter().map(|(stage, ..)| *stage).collect::<Vec<_>>(), &module)
}

/// Where the hostile guests are.
#[must_use]
pub fn hostile_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guests")
}

/// The component of a hostile guest, `guests/NAME.wat`: fields as [`guest`] takes them, one `(module …)` for the routing stage,
/// or one `(component …)`.
///
/// # Panics
/// There is none, or it is in none of these forms.
#[must_use]
pub fn hostile(name: &str) -> Vec<u8> {
    let file = hostile_folder().join(format!("{name}.wat"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|fault| panic!("{}: {fault}", file.display()));
    match fields(&text)[..] {
        [one] if one.starts_with("(component") => wat::parse_str(one).unwrap_or_else(|fault| panic!("{name}: {fault}")),
        [one] if one.starts_with("(module") => component(&["routing"], one),
        _ => guest(&text),
    }
}

/// The exports of a stage, around a guest's own functions.
fn exports(stage: &str, function: &str, name: &str) -> String {
    let interface = format!("gatewright:policy/{stage}@0.1.0");
    format!(
        r#"(func (export "{interface}#configure") (param $text i32) (param $length i32) (result i32)
            (call $begin)
            (global.set $settings (local.get $text))
            (global.set $settings-length (local.get $length))
            (call $configure)
            (call $end))
        (func (export "{interface}#{function}")
            (param $values i32) (param $count i32) (param $has-body i32) (param $body i32) (param $body-length i32)
            (param $has-headers i32) (param $headers i32) (param $headers-count i32) (result i32)
            (call $begin)
            (global.set $values (local.get $values))
            (global.set $count (local.get $count))
            (global.set $has-body (local.get $has-body))
            (global.set $body (local.get $body))
            (global.set $body-length (local.get $body-length))
            (global.set $headers (local.get $headers))
            (global.set $headers-count (local.get $headers-count))
            (call {name})
            (call $end))
        "#
    )
}

/// The component of a whole core module that exports these stages.
///
/// # Panics
/// It is none.
#[must_use]
pub fn component(stages: &[&str], module: &str) -> Vec<u8> {
    let exports: String = stages.iter().map(|stage| format!("export gatewright:policy/{stage}@0.1.0;\n")).collect();
    let world = format!(
        "package test:guest;
        world guest {{
            import gatewright:policy/inputs@0.1.0;
            import gatewright:policy/identity@0.1.0;
            import gatewright:policy/verdicts@0.1.0;
            import gatewright:policy/log@0.1.0;
            import gatewright:policy/clock@0.1.0;
            import gatewright:policy/random@0.1.0;
            import gatewright:policy/jwt@0.1.0;
            {exports}
        }}"
    );
    component_of(&[CONTRACT, &world], module)
}

/// The component of a whole core module and a world: the only one of the last of these WIT packages.
///
/// # Panics
/// It is none.
#[must_use]
pub fn component_of(packages: &[&str], module: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let mut last = None;
    for (index, package) in packages.iter().enumerate() {
        let pushed = resolve.push_str(format!("{index}.wit"), package);
        last = Some(pushed.unwrap_or_else(|fault| panic!("{fault:#}\n{package}")));
    }
    let world = resolve.select_world(&[last.expect("a package")], None).unwrap_or_else(|fault| panic!("{fault:#}"));
    let mut bytes = wat::parse_str(module).unwrap_or_else(|fault| panic!("{fault}\n{module}"));
    embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8).unwrap();
    let encoder = ComponentEncoder::default().module(&bytes).unwrap_or_else(|fault| panic!("{fault:#}\n{module}"));
    encoder.validate(true).encode().unwrap_or_else(|fault| panic!("{fault:#}\n{module}"))
}

/// The fields of a module's text: what is in parentheses at its top. Comments and strings are minded.
fn fields(text: &str) -> Vec<&str> {
    let (mut fields, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    let mut place = 0;
    let bytes = text.as_bytes();
    while place < bytes.len() {
        match bytes[place] {
            b';' if bytes.get(place + 1) == Some(&b';') => {
                place += text[place..].find('\n').unwrap_or(bytes.len() - place - 1);
            }
            b'"' => {
                place += 1;
                while place < bytes.len() && bytes[place] != b'"' {
                    place += if bytes[place] == b'\\' { 2 } else { 1 };
                }
            }
            b'(' => {
                if depth == 0 {
                    start = place;
                }
                depth += 1;
            }
            b')' => {
                depth = depth.checked_sub(1).expect("as many opening parentheses");
                if depth == 0 {
                    fields.push(&text[start..=place]);
                }
            }
            _ => {}
        }
        place += 1;
    }
    assert_eq!(depth, 0, "as many closing parentheses: {text}");
    fields
}

/// The first words of a field.
fn words(field: &str) -> Vec<String> {
    let split = field.split(|character: char| character.is_whitespace() || "()".contains(character));
    split.filter(|word| !word.is_empty()).take(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_what_is_in_parentheses_at_the_top() {
        let text = r#";; a ) comment
            (import "a" "b" (func))  (data (i32.const 1) ")\")") ;; (not this)
            (func $route)"#;
        assert_eq!(fields(text), [r#"(import "a" "b" (func))"#, r#"(data (i32.const 1) ")\")")"#, "(func $route)"]);
        assert_eq!(words("(func $route (result i32))"), ["func", "$route"]);
    }

    #[test]
    fn a_guest_of_all_stages_is_a_component() {
        let bytes = guest(
            r#"(func $identify (result i32) (call $ok))
            (func $check (result i32) (call $ok))
            (func $route (result i32) (call $respond (i32.const 200) (i32.const 4096) (i32.const 2)))
            (data (i32.const 4096) "hi")
            (import "gatewright:policy/inputs@0.1.0" "path" (func $path (result i32)))
            (func $configure (result i32) (drop (call $path)) (call $ok))"#,
        );
        assert_eq!(bytes[..8], *b"\0asm\x0d\0\x01\0");
    }
}
