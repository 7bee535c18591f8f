// What the official `openai` package makes of a gateway's Responses, Conversations and stored completions.
import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { run } from "./running.mjs";
import { told } from "./told.mjs";

const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY, maxRetries: 0 });
const City = z.object({ name: z.string(), people: z.number() });

async function all(pages) {
  const found = [];
  for await (const one of pages) found.push(one);
  return found;
}

// The error that an answer is; what is no error fails the case.
async function refused(answer) {
  try {
    await answer;
  } catch (error) {
    return told(error);
  }
  throw new Error("it was not refused");
}

const cases = {
  // Some requests after one another; a `previous_response_id` of true means the one before.
  async create(...bodies) {
    const seen = [];
    for (const body of bodies) {
      if (body.previous_response_id === true) body.previous_response_id = seen.at(-1).id;
      seen.push(await client.responses.create({ model: "m", input: "Hello!", ...body }));
    }
    return seen;
  },

  async events(body = {}) {
    return await all(await client.responses.create({ model: "m", input: "Hello!", stream: true, ...body }));
  },

  // The package's own accumulation of a stream.
  async accumulated(body = {}) {
    const deltas = [];
    const runner = client.responses.stream({ model: "m", input: "Hello!", ...body });
    runner.on("response.output_text.delta", (event) => deltas.push(event.delta));
    return { response: await runner.finalResponse(), deltas };
  },

  async parsed(stream) {
    const body = { model: "m", input: "Which city?", text: { format: zodTextFormat(City, "city") } };
    if (stream) return (await client.responses.stream(body).finalResponse()).output_parsed;
    return (await client.responses.parse(body)).output_parsed;
  },

  // A function, called by the model and run here, with the items kept here or there.
  async calls(kept) {
    const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false };
    const tools = [{ type: "function", name: "weather", parameters, strict: true }];
    const question = { role: "user", content: "Weather?" };
    const first = await client.responses.create({ model: "m", input: [question], tools, store: !kept });
    const call = first.output.find((item) => item.type === "function_call");
    const result = { type: "function_call_output", call_id: call.call_id, output: `It rains in ${JSON.parse(call.arguments).city}.` };
    const more = kept ? { input: [question, ...first.output, result], store: false } : { input: [result], previous_response_id: first.id };
    return (await client.responses.create({ model: "m", tools, ...more })).output_text;
  },

  async stored() {
    const made = await client.responses.create({ model: "m", input: "Hello!" });
    const found = await client.responses.retrieve(made.id);
    const items = await all(client.responses.inputItems.list(made.id));
    await client.responses.delete(made.id);
    return { made, found, items, gone: await refused(client.responses.retrieve(made.id)) };
  },

  async counted(body = {}) {
    return await client.responses.inputTokens.count({ model: "m", input: "Hello!", ...body });
  },

  async conversation() {
    const items = [{ type: "message", role: "user", content: "I am Ann." }];
    const talk = await client.conversations.create({ items, metadata: { topic: "names" } });
    await client.responses.create({ model: "m", input: "Hi", conversation: talk.id });
    const more = { items: [{ role: "user", content: "Bye" }] };
    const [bye] = (await client.conversations.items.create(talk.id, more)).data;
    const found = await all(client.conversations.items.list(talk.id, { order: "asc", limit: 2 }));
    const one = await client.conversations.items.retrieve(bye.id, { conversation_id: talk.id });
    await client.conversations.items.delete(bye.id, { conversation_id: talk.id });
    const left = await all(client.conversations.items.list(talk.id));
    const updated = await client.conversations.update(talk.id, { metadata: { topic: "n" } });
    const { deleted } = await client.conversations.delete(talk.id);
    return { talk, found, one, left: left.length, updated, deleted, gone: await refused(client.conversations.retrieve(talk.id)) };
  },

  async completion() {
    const messages = [{ role: "user", content: "Hello!" }];
    const completions = client.chat.completions;
    const made = await completions.create({ model: "m", messages, store: true, metadata: { run: "npm" } });
    const listed = (await all(completions.list({ metadata: { run: "npm" } }))).map((one) => one.id);
    const found = await completions.retrieve(made.id);
    const asked = await all(completions.messages.list(made.id));
    const { metadata } = await completions.update(made.id, { metadata: { run: "b" } });
    await completions.delete(made.id);
    return { id: made.id, listed, found, asked, metadata, gone: await refused(completions.retrieve(made.id)) };
  },

  // A response in the background whose listener leaves after its first words.
  async begun() {
    const heard = [];
    for await (const event of await client.responses.create({ model: "m", input: "Hello!", background: true, stream: true })) {
      heard.push(event);
      if (event.type === "response.output_text.delta") break;
    }
    return heard;
  },

  async resumed(id, starting_after) {
    return await all(await client.responses.retrieve(id, { stream: true, starting_after }));
  },

  async cancelled() {
    const { id, status } = await client.responses.create({ model: "m", input: "Hello!", background: true });
    return [status, (await client.responses.cancel(id)).status, (await client.responses.retrieve(id)).status];
  },

  async error(body = {}) {
    return await refused(client.responses.create({ model: "m", input: "Hello!", ...body }));
  },
};

await run(cases);
