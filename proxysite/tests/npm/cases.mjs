// What the official `openai` package makes of a gateway.
import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { run } from "./running.mjs";
import { told } from "./told.mjs";

const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY, maxRetries: 0 });
const messages = [{ role: "user", content: "Hello!" }];
const City = z.object({ name: z.string(), people: z.number() });
const weather = {
  type: "function",
  function: {
    name: "get_weather",
    description: "The weather of a city",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};

const cases = {
  async chat(more = {}) {
    return await client.chat.completions.create({ model: "m", messages, ...more });
  },

  // All chunks of a stream, and the error that ended it.
  async stream(more = {}) {
    const seen = { chunks: [], error: null };
    const stream = await client.chat.completions.create({ model: "m", messages, stream: true, ...more });
    try {
      for await (const chunk of stream) seen.chunks.push(chunk);
    } catch (error) {
      seen.error = told(error);
    }
    return seen;
  },

  // The package's own accumulation of a stream, with its events.
  async accumulated(more = {}) {
    const deltas = [];
    const runner = client.chat.completions.stream({ model: "m", messages, ...more });
    runner.on("content", (delta) => deltas.push(delta));
    return { completion: await runner.finalChatCompletion(), usage: await runner.totalUsage(), deltas };
  },

  // The package calls the tool itself and asks again.
  async tools(stream) {
    const asked = [];
    const parse = z.object({ city: z.string() });
    const run = ({ city }) => {
      asked.push(city);
      return `It rains in ${city}.`;
    };
    const tool = zodFunction({ name: "get_weather", description: "The weather of a city", parameters: parse, function: run });
    const runner = client.chat.completions.runTools({ model: "m", messages, stream, tools: [tool] });
    const answer = await runner.finalContent();
    return { answer, asked, messages: runner.messages };
  },

  async toolChoice() {
    const tool_choice = { type: "function", function: { name: "get_weather" } };
    return await client.chat.completions.create({ model: "m", messages, tools: [weather], tool_choice });
  },

  async parse() {
    const response_format = zodResponseFormat(City, "city");
    const answer = await client.chat.completions.parse({ model: "m", messages, response_format });
    return { parsed: answer.choices[0].message.parsed, refusal: answer.choices[0].message.refusal };
  },

  async parseStream() {
    const response_format = zodResponseFormat(City, "city");
    const runner = client.chat.completions.stream({ model: "m", messages, response_format });
    return { parsed: (await runner.finalChatCompletion()).choices[0].message.parsed };
  },

  async completion(stream) {
    const answer = await client.completions.create({ model: "m", prompt: "Once", stream });
    if (!stream) return { text: answer.choices[0].text };
    let text = "";
    for await (const chunk of answer) text += chunk.choices[0]?.text ?? "";
    return { text };
  },

  async embeddings(more = {}) {
    return await client.embeddings.create({ model: "m", input: ["one", "two"], ...more });
  },

  async models() {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    return { ids, one: await client.models.retrieve("m") };
  },

  // The error that a request ends with; `options` are the client's, `method` is where it asks.
  async error(body = {}, options = {}, method = "chat") {
    const other = client.withOptions(options);
    try {
      if (method === "models") await other.models.retrieve(body.model);
      else if (method === "embeddings") await other.embeddings.create({ model: "m", input: "one", ...body });
      else await other.chat.completions.create({ model: "m", messages, ...body });
    } catch (error) {
      return { ...told(error), headers: Object.fromEntries(error.headers ?? []) };
    }
    return { kind: "none" };
  },

  async withResponse(more = {}) {
    const asked = client.chat.completions.create({ model: "m", messages, ...more });
    const { data, response, request_id } = await asked.withResponse();
    const headers = Object.fromEntries(response.headers);
    const seen = { status: response.status, headers, request_id, own: data._request_id ?? null };
    if (more.stream) for await (const _ of data);
    return seen;
  },

  // Leave a stream after its first words: how a chat window's stop button does it.
  async leave(way) {
    const aborting = new AbortController();
    const options = way === "signal" ? { signal: aborting.signal } : {};
    const stream = await client.chat.completions.create({ model: "m", messages, stream: true }, options);
    let heard = "";
    for await (const chunk of stream) {
      heard += chunk.choices[0].delta.content;
      if (way === "break") break;
      if (way === "controller") stream.controller.abort();
      if (way === "signal") aborting.abort();
    }
    return { heard, aborted: stream.controller.signal.aborted };
  },
};

await run(cases);
