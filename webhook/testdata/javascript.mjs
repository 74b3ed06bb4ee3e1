// Judges requests as an app does that checks Whereby's signature over the JSON
// that it has parsed and written again, as the sample in Whereby's guide does.
//
// A line of input is {"secret", "now", "header", "body"}; the answer is the
// status that the app would give.

import { createHmac, timingSafeEqual } from 'node:crypto';
import { createInterface } from 'node:readline';

const MAX_AGE = 60; // seconds

function judge({ secret, now, header, body }) {
  const match = /t=(.*),v1=(.*)/.exec(header);
  if (!match || now - Number(match[1]) >= MAX_AGE) return 401;
  const signed = `${match[1]}.${JSON.stringify(JSON.parse(body))}`;
  const want = createHmac('sha256', secret).update(signed).digest('hex');
  const same = want.length === match[2].length && timingSafeEqual(Buffer.from(want), Buffer.from(match[2]));
  return same ? 200 : 401;
}

createInterface({ input: process.stdin }).on('line', (line) => console.log(judge(JSON.parse(line))));
