// What the Vercel AI SDK makes of a gateway by `@ai-sdk/openai-compatible`, which asks /v1/chat/completions, with tools
// whose numbers zod 4 bounds: `z.float64()` writes 1.7976931348623157e+308 into the schema.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { run } from "./running.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;
const gateway = createOpenAICompatible({
  name: "gateway", baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY, includeUsage: true, supportsStructuredOutputs: true,
});
const convert = tool({
  description: "Celsius as Fahrenheit",
  inputSchema: z.object({ celsius: z.float64(), factor: z.float32().optional() }),
  execute: async ({ celsius }) => ({ fahrenheit: celsius * 1.8 + 32 }),
});

async function read(answer) {
  const [text, reasoning, finish, usage, steps] = await Promise.all([
    answer.text, answer.reasoningText, answer.finishReason, answer.totalUsage, answer.steps,
  ]);
  return { text, reasoning: reasoning ?? null, finish, usage, steps: steps.length };
}

async function ask(request, streams) {
  if (!streams) {
    const answer = await generateText(request);
    return { seen: await read(answer), messages: answer.response.messages };
  }
  const answer = streamText(request);
  await answer.consumeStream();
  return { seen: await read(answer), messages: (await answer.response).messages };
}

const cases = {
  // A program's chat of several turns; the SDK runs the tool and asks again, by itself.
  async chat(streams, ...questions) {
    const messages = [];
    const seen = [];
    for (const content of questions) {
      messages.push({ role: "user", content });
      const request = { model: gateway("m"), messages, tools: { convert }, stopWhen: stepCountIs(4), maxRetries: 0 };
      const answer = await ask(request, streams);
      messages.push(...answer.messages);
      seen.push(answer.seen);
    }
    return seen;
  },

  async object() {
    const schema = z.object({ name: z.string(), people: z.number() });
    return (await generateText({ model: gateway("m"), prompt: "Which city?", output: Output.object({ schema }), maxRetries: 0 })).output;
  },

  async embeddings(...values) {
    const { embeddings, usage } = await embedMany({ model: gateway.embeddingModel("m"), values, maxRetries: 0 });
    return { embeddings, usage };
  },
};

await run(cases);
