// What the clients do: of ten requests six read an item, three read a page, one creates an item. Connections are kept alive.
import { check } from 'k6';
import { Counter } from 'k6/metrics';
import http from 'k6/http';

const API = __ENV.API;
const headers = { 'X-API-Key': __ENV.KEY, 'Content-Type': 'application/json' };
const ITEMS = 50;

// Anything but the expected status: other answers, resets, refusals, time-outs.
export const failures = new Counter('failures');

export function seed() {
  const created = [];
  for (let n = 0; n < ITEMS; n++) {
    const response = http.post(`${API}/items`, JSON.stringify({ name: `load ${n}` }), { headers, tags: { seed: 'yes' } });
    if (response.status !== 201) throw new Error(`no items to read: ${response.status} ${response.body}`);
    created.push(response.json('id'));
  }
  return created;
}

export function request(ids, number) {
  const params = { headers, timeout: '15s' };
  let response;
  let expected = 200;
  if (number % 10 === 0) {
    response = http.post(`${API}/items`, JSON.stringify({ name: `load ${number}` }), params);
    expected = 201;
  } else if (number % 10 < 4) {
    response = http.get(`${API}/items?limit=20`, params);
  } else {
    response = http.get(`${API}/items/${ids[number % ids.length]}`, params);
  }
  if (!check(response, { expected: (r) => r.status === expected })) {
    failures.add(1, { status: String(response.status), error_code: String(response.error_code) });
    console.error(`${new Date().toISOString()} ${response.request.method} ${response.request.url}: ${response.status} ${response.error} ${String(response.body).slice(0, 200)}`);
  }
}
