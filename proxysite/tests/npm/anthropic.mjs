// What Anthropic's official package makes of a gateway: its base URL has no /v1.
import Anthropic from "@anthropic-ai/sdk";
import { run } from "./running.mjs";

const client = new Anthropic({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY, maxRetries: 0 });
const weather = {
  name: "weather",
  description: "The weather of a city",
  input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};
const asked = { model: "m", max_tokens: 2048, messages: [{ role: "user", content: "Hello!" }] };

// One answer, whole or as the package puts a stream together.
async function answer(fields, streams) {
  if (!streams) return await client.messages.create({ ...asked, ...fields });
  return await client.messages.stream({ ...asked, ...fields }).finalMessage();
}

const cases = {
  async message(streams) {
    const { content, stop_reason, usage, model } = await answer({}, streams);
    return { content, stop_reason, usage, model };
  },

  async texts() {
    const texts = [];
    const stream = client.messages.stream(asked).on("text", (text) => texts.push(text));
    await stream.done();
    return texts;
  },

  // A program calls the tool itself, and sends all messages again.
  async tool(streams) {
    const tools = { tools: [weather], thinking: { type: "enabled", budget_tokens: 1024 } };
    const first = await answer(tools, streams);
    const call = first.content.find((block) => block.type === "tool_use");
    const result = { type: "tool_result", tool_use_id: call.id, content: `It rains in ${call.input.city}.` };
    const messages = [...asked.messages, { role: "assistant", content: first.content }, { role: "user", content: [result] }];
    const second = await answer({ ...tools, messages }, streams);
    return { first: first.content.map((block) => block.type), stop: first.stop_reason, text: second.content[0].text };
  },

  async count() {
    return (await client.messages.countTokens({ model: "m", messages: asked.messages })).input_tokens;
  },

  async models() {
    const ids = [];
    for await (const model of client.models.list({ limit: 1 })) ids.push(model.id);
    return ids;
  },

  async error(fields, apiKey = process.env.API_KEY) {
    try {
      await client.withOptions({ apiKey }).messages.create({ ...asked, ...fields });
    } catch (error) {
      return { name: error.constructor.name, status: error.status, type: error.type, known: Boolean(error.requestID) };
    }
  },

  async batches() {
    try {
      await client.messages.batches.list();
    } catch (error) {
      return error.message;
    }
  },
};

await run(cases);
