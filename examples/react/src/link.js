// open turns a link of usher's into what the Jitsi component needs. Each call
// makes a token of its own, good for the link's ttl_s. It throws an Error with
// words for people when the link opens nothing.
export async function open(link) {
  const answer = await fetch(link, { headers: { Accept: 'application/json' }, referrerPolicy: 'no-referrer' });
  const body = await answer.json();
  if (!answer.ok) {
    throw new Error(body.detail ?? body.title);
  }
  // https://meet.example.org/room#jwt=…&config.recordings.suggestRecording=true
  const url = new URL(body.url);
  const config = {};
  for (const [key, value] of new URLSearchParams(url.hash.slice(1))) {
    if (key.startsWith('config.')) {
      config[key.slice('config.'.length)] = JSON.parse(value);
    }
  }
  return { domain: url.host, room: url.pathname.slice(1), token: body.token, config };
}
