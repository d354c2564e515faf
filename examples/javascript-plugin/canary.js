// Routing to a new version of a service: testers always get it, and so does a share of all other requests.

import * as inputs from 'gatewright:policy/inputs@0.1.0';
import * as verdicts from 'gatewright:policy/verdicts@0.1.0';

let settings, choice;

const forward = (service, shares = []) => ({ tag: 'forward', val: { service, shares } });

export const routing = {
  configure(text) {
    settings = JSON.parse(text);
    const { stable, next, perMille } = settings;
    if (typeof stable !== 'string' || typeof next !== 'string') throw 'name a service in `stable` and one in `next`';
    if (!(Number.isInteger(perMille) && perMille >= 0 && perMille <= 1000)) throw '`perMille` is none of 0 to 1000';
    choice = inputs.cookie('canary');
    verdicts.remember(60_000);
  },

  route({ values }) {
    const { stable, next, perMille } = settings;
    switch (values[choice]) {
      case 'always': return forward(next);
      case 'never': return forward(stable);
      default: return forward(stable, [{ service: next, perMille }]);
    }
  },
};
