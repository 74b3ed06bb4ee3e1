import { useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { JitsiMeeting } from '@jitsi/react-sdk';

import { open } from './link.js';

// A meeting inside this page, by a link of usher's. `link` comes from your own
// server, which made it with `POST /v1/meetings/{id}/links` for this person.
function Meeting({ link }) {
  const [meeting, setMeeting] = useState(null);
  const [problem, setProblem] = useState('');
  useEffect(() => {
    open(link).then(setMeeting, (error) => setProblem(error.message));
  }, [link]);

  if (problem) {
    return <p role="alert">{problem}</p>;
  }
  if (!meeting) {
    return <p>Joining…</p>;
  }
  return (
    <JitsiMeeting
      domain={meeting.domain}
      roomName={meeting.room}
      jwt={meeting.token}
      configOverwrite={meeting.config}
      onReadyToClose={() => setProblem('You have left the meeting.')}
      getIFrameRef={(node) => { node.style.height = '100vh'; }}
    />
  );
}

// For trying it out the page takes the link from its own fragment, which is
// sent to no server.
const link = decodeURIComponent(location.hash.slice(1));
createRoot(document.getElementById('root')).render(
  link ? <Meeting link={link} /> : <p>Open this page with a link of usher's behind a #.</p>,
);
