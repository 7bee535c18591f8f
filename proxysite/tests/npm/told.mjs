import OpenAI from "openai";

// An error as a program can tell it from others: its most special class, and its fields.
export function told(error) {
  const classes = Object.keys(OpenAI).filter((name) => typeof OpenAI[name] === "function" && error?.constructor === OpenAI[name]);
  if (!(error instanceof OpenAI.OpenAIError)) throw error;
  const { status, code, param, type, message, requestID } = error;
  return { kind: classes[0] ?? error.constructor.name, status, code, param, type, message, requestID };
}
