// A closed loop: VUS clients, each sending its next request when the one before is answered, for DURATION seconds.
import exec from 'k6/execution';
import { request, seed } from './requests.js';

export const options = {
  scenarios: {
    loop: { executor: 'constant-vus', vus: Number(__ENV.VUS), duration: `${__ENV.DURATION}s`, gracefulStop: '20s' },
  },
  thresholds: { http_req_failed: ['rate==0'], checks: ['rate==1'] },
  summaryTrendStats: ['avg', 'med', 'p(95)', 'p(99)', 'max'],
};

export const setup = seed;
export default function (ids) {
  request(ids, exec.scenario.iterationInTest);
}
