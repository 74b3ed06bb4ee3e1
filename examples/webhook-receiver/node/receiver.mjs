// Takes usher's webhooks: verifies them as Standard Webhooks 1.0.0 says, leaves
// out what it has had already, and answers before it works.
//
//     WEBHOOK_SECRET=whsec_… node receiver.mjs 127.0.0.1:8765

import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';

const TOLERANCE = 5 * 60; // seconds that the clocks may be apart
const MAX_BODY = 1 << 20; // bytes

// verify tells whether the body was signed with the key, just now. It needs the
// bytes as they came: JSON that was parsed and written again is another.
function verify(key, headers, body) {
  const id = headers['webhook-id'] ?? '';
  const stamp = headers['webhook-timestamp'] ?? '';
  if (!/^\d{1,15}$/.test(stamp) || Math.abs(Date.now() / 1000 - Number(stamp)) > TOLERANCE) {
    return false;
  }
  const mac = createHmac('sha256', key).update(`${id}.${stamp}.`).update(body);
  const want = Buffer.from(`v1,${mac.digest('base64')}`);
  // While the secret changes there is a signature for each of the two.
  const signatures = (headers['webhook-signature'] ?? '').split(' ');
  return signatures.some((signature) => {
    const got = Buffer.from(signature);
    return got.length === want.length && timingSafeEqual(got, want);
  });
}

// read returns the body, or undefined when it is too large.
async function read(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > MAX_BODY) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

const seen = new Set(); // in a real app a unique column in the database

// take returns the status to answer with.
function take(key, headers, body) {
  if (body === undefined) return 400;
  if (!verify(key, headers, body)) return 401;
  let event;
  try {
    event = JSON.parse(body.toString('utf8'));
  } catch {
    return 422;
  }
  if (seen.has(event.id)) {
    console.log('again', event.id);
  } else if (event.gap) {
    console.log('gap, read the meeting anew:', event.id, event.type, event.seq ?? 0);
  } else {
    console.log('event', event.id, event.type, event.seq ?? 0);
  }
  seen.add(event.id);
  return 204;
}

const secret = process.env.WEBHOOK_SECRET ?? '';
const [host, port] = (process.argv[2] ?? '').split(':');
if (!secret || !port) {
  console.error('usage: WEBHOOK_SECRET=whsec_… node receiver.mjs HOST:PORT');
  process.exit(1);
}
const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');

const server = createServer(async (request, response) => {
  try {
    const body = await read(request);
    response.writeHead(take(key, request.headers, body)).end();
  } catch {
    response.destroy(); // the request was cut off
  }
});
server.requestTimeout = 10_000; // milliseconds
server.listen(Number(port), host, () => {
  const { address, port: chosen } = server.address();
  console.log(`listening on ${address}:${chosen}`);
});
