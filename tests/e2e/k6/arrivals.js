// Requests arrive at a constant rate, whether the ones before are answered or not. RATE a second, for DURATION seconds.
import exec from 'k6/execution';
import { request, seed } from './requests.js';

export const options = {
  scenarios: {
    arrivals: {
      executor: 'constant-arrival-rate',
      rate: Number(__ENV.RATE),
      timeUnit: '1s',
      duration: `${__ENV.DURATION}s`,
      preAllocatedVUs: 60,
      maxVUs: 200,
      gracefulStop: '20s',
    },
  },
  thresholds: { http_req_failed: ['rate==0'], checks: ['rate==1'] },
  summaryTrendStats: ['avg', 'med', 'p(95)', 'p(99)', 'max'],
};

export const setup = seed;
export default function (ids) {
  request(ids, exec.scenario.iterationInTest);
}
