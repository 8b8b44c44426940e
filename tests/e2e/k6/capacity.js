// A closed loop: VUS clients, each sending its next request when the one before is answered, for DURATION seconds.
// What was answered is counted for each WINDOW seconds by itself: the slowest of them says what is left in the worst moment.
import exec from 'k6/execution';
import { Counter } from 'k6/metrics';
import { request, seed } from './requests.js';

const WINDOW = Number(__ENV.WINDOW);
const windows = Math.floor(Number(__ENV.DURATION) / WINDOW);
const served = new Counter('served');

// A tag's values are in the summary when a threshold names them.
const counted = {};
for (let n = 0; n < windows; n++) counted[`served{window:${n}}`] = ['count>=0'];

export const options = {
  scenarios: {
    loop: { executor: 'constant-vus', vus: Number(__ENV.VUS), duration: `${__ENV.DURATION}s`, gracefulStop: '20s' },
  },
  thresholds: { http_req_failed: ['rate==0'], checks: ['rate==1'], ...counted },
  summaryTrendStats: ['avg', 'med', 'p(95)', 'p(99)', 'max'],
};

export const setup = seed;
export default function (ids) {
  request(ids, exec.scenario.iterationInTest);
  served.add(1, { window: String(Math.floor((Date.now() - exec.scenario.startTime) / 1000 / WINDOW)) });
}
