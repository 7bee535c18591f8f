// A stored turn that is run again: its request comes into every pane, beside the answer it got.

import { ApiError, readJson } from "../wire/session_key.js";
import { renderMessage } from "./message_view.js";
import { copyTemplate, createElement, getText } from "../texts.js";

/** Return the stored turn at an address of this site. Throws ApiError. */
export async function readTurn(url) {
    const response = await fetch(url, { headers: { accept: "application/json" } });
    const body = await readJson(response);
    if (!response.ok) throw new ApiError(response.status, body);
    return body;
}

/** Return a pane that only shows the answer that was stored. */
export function renderStoredAnswer(turn) {
    const element = copyTemplate("stored-template");
    element.querySelector(".stored-model").textContent = turn.model;
    element.querySelector(".stored-request").textContent = turn.request_id;
    const thread = element.querySelector(".pane-thread");
    thread.append(...turn.messages.map(renderMessage), ...turn.answer.map(renderMessage));
    if (!turn.answer.length) {
        thread.append(createElement("p", "quiet", getText("noAnswer")));
    }
    return element;
}

/** Return the stored answer's text with its model. */
export function getStoredAnswer(turn) {
    const texts = turn.answer.map(({ content }) => (typeof content === "string" ? content : ""));
    return { label: turn.model, text: texts.join("\n") };
}

/** Write the options of a stored turn into the settings; the first instructions become the prompt. */
export function applyOptions(settings, turn) {
    const fields = settings.elements;
    for (const [name, value] of Object.entries(turn.options)) {
        if (name === "tools") fields.tools.value = JSON.stringify(value, null, 2);
        else if (name === "response_format") fields.schema.value = writeSchema(value);
        else if (name === "tool_choice") fields.tool_choice.value = typeof value === "string" ? value : "";
        else if (fields[name]) fields[name].value = value;
    }
    const [first] = turn.messages;
    if (first?.role === "system" && typeof first.content === "string") {
        fields.system.value = first.content;
        turn.messages.shift();
    }
}

function writeSchema(format) {
    return format?.json_schema ? JSON.stringify(format.json_schema, null, 2) : "";
}
