// Build the body of a chat completion from the fields of the settings.

import { getText } from "../texts.js";

const NUMBERS = ["temperature", "top_p", "max_tokens", "seed"];

/** A field that does not hold what it should; nothing was sent. */
export class FieldError extends Error {
    constructor(field, message) {
        super(message);
        this.field = field;
    }
}

/** Return the body of a request. Throws FieldError. */
export function buildBody(settings, model, messages) {
    if (!model) throw new FieldError("model", getText("chooseModel"));
    const fields = settings.elements;
    const body = { model, messages: [...makeSystem(fields), ...messages] };
    body.stream = fields.stream.checked;
    if (body.stream) body.stream_options = { include_usage: true };
    for (const name of NUMBERS) addNumber(body, fields[name], name);
    if (fields.reasoning_effort.value) body.reasoning_effort = fields.reasoning_effort.value;
    const stops = fields.stop.value.split("\n").filter(Boolean);
    if (stops.length) body.stop = stops;
    addTools(body, fields);
    addSchema(body, fields);
    const extra = readJsonField(fields.extra, "extra");
    if (extra !== null && (typeof extra !== "object" || Array.isArray(extra))) {
        throw new FieldError("extra", getText("needsObject"));
    }
    return { ...body, ...extra };
}

function makeSystem(fields) {
    const text = fields.system.value.trim();
    return text ? [{ role: "system", content: text }] : [];
}

function addNumber(body, field, name) {
    if (field.validity.badInput) throw new FieldError(name, getText("needsNumber"));
    if (field.value !== "") body[name] = Number(field.value);
}

function addTools(body, fields) {
    let tools = readJsonField(fields.tools, "tools");
    if (tools === null) return;
    if (!Array.isArray(tools)) tools = [tools];
    body.tools = tools.map((tool) => (tool?.type ? tool : { type: "function", function: tool }));
    if (fields.tool_choice.value) body.tool_choice = fields.tool_choice.value;
}

function addSchema(body, fields) {
    const schema = readJsonField(fields.schema, "schema");
    if (schema === null) return;
    const isWhole = schema?.schema !== undefined; // with a name around it, as the API wants it
    const named = isWhole ? schema : { name: "answer", strict: true, schema };
    body.response_format = { type: "json_schema", json_schema: named };
}

function readJsonField(field, name) {
    const text = field.value.trim();
    if (!text) return null;
    try {
        return JSON.parse(text);
    } catch (error) {
        throw new FieldError(name, getText("needsJson", { reason: error.message }));
    }
}
