// What the Vercel AI SDK makes of a gateway: its default is /v1/responses.
import { createOpenAI } from "@ai-sdk/openai";
import { APICallError, generateObject, generateText, Output, stepCountIs, streamObject, streamText, tool } from "ai";
import { z } from "zod";
import { run } from "./running.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;
const openai = createOpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY });
const City = z.object({ name: z.string(), people: z.number() });
const weather = tool({
  description: "The weather of a city",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `It rains in ${city}.`,
});
const asked = { prompt: "Hello!", maxRetries: 0 };

function model(name = "m", chat = false) {
  return chat ? openai.chat(name) : openai(name);
}

// What a program reads of an answer, streamed or not.
async function read(answer) {
  const [text, reasoning, finish, usage, sources, steps, metadata, warnings] = await Promise.all([
    answer.text, answer.reasoningText, answer.finishReason, answer.totalUsage, answer.sources, answer.steps, answer.providerMetadata, answer.warnings,
  ]);
  const id = metadata?.openai?.responseId;
  return { text, reasoning: reasoning ?? null, finish, usage, sources, steps: steps.length, id, warnings };
}

const cases = {
  async text({ openai: options, chat, name, ...more } = {}, streams = false) {
    const answer = { model: model(name, chat), ...asked, ...more, providerOptions: { openai: options ?? {} } };
    if (!streams) return await read(await generateText(answer));
    const parts = [];
    const streamed = streamText({ ...answer, onError() {} });
    for await (const part of streamed.fullStream) parts.push(part.type === "error" ? { type: "error", message: String(part.error?.message ?? JSON.stringify(part.error)) } : part);
    return { parts, ...(parts.some((part) => part.type === "error") ? {} : await read(streamed)) };
  },

  // The SDK runs the tool and asks again, by itself.
  async tools(options = {}, streams = false) {
    const ask = { model: model(), ...asked, tools: { weather }, stopWhen: stepCountIs(4), providerOptions: { openai: options } };
    if (!streams) return await read(await generateText(ask));
    const streamed = streamText(ask);
    await streamed.consumeStream();
    return await read(streamed);
  },

  // A program's chat: the messages of each answer are put behind those before it.
  async chat(options, ...questions) {
    const messages = [];
    const heard = [];
    for (const content of questions) {
      messages.push({ role: "user", content });
      const answer = await generateText({ model: model(), messages, maxRetries: 0, tools: { weather }, stopWhen: stepCountIs(4), providerOptions: { openai: options } });
      messages.push(...answer.response.messages);
      heard.push(answer.text);
    }
    return heard;
  },

  async search() {
    return await read(await generateText({ model: model(), ...asked, tools: { web_search: openai.tools.webSearch({ searchContextSize: "low" }) } }));
  },

  async object(way) {
    if (way === "generateObject") return (await generateObject({ model: model(), ...asked, schema: City })).object;
    if (way === "output") return (await generateText({ model: model(), ...asked, output: Output.object({ schema: City }) })).output;
    const streamed = streamObject({ model: model(), ...asked, schema: City });
    for await (const _ of streamed.partialObjectStream);
    return await streamed.object;
  },

  async image(url) {
    const content = [{ type: "text", text: "What is it?" }, { type: "image", image: url }];
    return await read(await generateText({ model: model(), messages: [{ role: "user", content }], maxRetries: 0 }));
  },

  async error(name = "m") {
    try {
      await generateText({ model: model(name), ...asked });
    } catch (error) {
      if (!APICallError.isInstance(error)) throw error;
      return { status: error.statusCode, message: error.message, retryable: error.isRetryable, code: error.data?.error?.code };
    }
    return { status: 200 };
  },

  // Leave a stream after its first words.
  async leave() {
    const aborting = new AbortController();
    const streamed = streamText({ model: model(), ...asked, abortSignal: aborting.signal, onError() {} });
    for await (const text of streamed.textStream) {
      aborting.abort();
      return { heard: text };
    }
  },
};

await run(cases);
