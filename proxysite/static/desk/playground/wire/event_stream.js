// Read the events of a streamed answer (text/event-stream).

/** Yield the data of each event, as text; comments and other fields are left out. */
export async function* readEvents(response) {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const bytes of iterateBody(response.body)) {
        rest += decoder.decode(bytes, { stream: true });
        const events = rest.split(/\r?\n\r?\n/);
        rest = events.pop();
        for (const event of events) {
            const data = readData(event);
            if (data !== "") yield data;
        }
    }
    const data = readData(rest);
    if (data !== "") yield data;
}

/** Yield the pieces of a body; not every browser can iterate over one itself. */
async function* iterateBody(body) {
    const reader = body.getReader();
    try {
        for (;;) {
            const { done, value } = await reader.read();
            if (done) return;
            yield value;
        }
    } finally {
        reader.cancel().catch(() => {});
    }
}

/** Return the data lines of an event, joined. */
function readData(event) {
    const lines = event.split(/\r?\n/).filter((line) => line.startsWith("data:"));
    return lines.map((line) => line.slice(5).replace(/^ /, "")).join("\n");
}
