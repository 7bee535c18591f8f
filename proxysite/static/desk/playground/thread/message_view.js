// Show one message of a thread.

import { showBlocks } from "./text_blocks.js";
import { createElement, getText } from "../texts.js";

/** Return the element of a message of a request. */
export function renderMessage(message) {
    const element = createElement("article", `message message-${message.role}`);
    const role = getText(`role${message.role}`, {});
    element.append(createElement("h3", "message-role", role));
    if (message.reasoning_content) element.append(renderReasoning(message.reasoning_content));
    for (const part of listParts(message.content)) element.append(renderPart(part));
    for (const call of message.tool_calls ?? []) element.append(renderCall(call));
    return element;
}

function listParts(content) {
    if (typeof content === "string") return [{ type: "text", text: content }];
    return content ?? [];
}

function renderPart(part) {
    if (part.type === "text") {
        const element = createElement("div", "message-text");
        showBlocks(element, part.text);
        return element;
    }
    if (part.type === "image_url") return renderImage(part.image_url?.url ?? "");
    const file = part.file ?? {};
    const name = file.filename ?? file.file_id ?? part.type;
    return createElement("p", "message-file", getText("fileNamed", { name }));
}

function renderImage(url) {
    if (!url.startsWith("data:image/")) {
        return createElement("p", "message-file", getText("imageNamed", { name: url }));
    }
    const image = createElement("img", "message-image");
    image.src = url;
    image.alt = getText("attachedImage");
    return image;
}

/** Return folded reasoning. */
export function renderReasoning(text) {
    const details = createElement("details", "reasoning");
    details.append(createElement("summary", "", getText("reasoning")));
    details.append(createElement("div", "prose", text));
    return details;
}

/** Return a tool call with its arguments, indented when they are JSON. */
export function renderCall(call) {
    const element = createElement("div", "tool-call");
    const name = call.function?.name ?? call.custom?.name ?? call.type;
    const title = createElement("p", "", getText("calls"));
    title.append(" ", createElement("code", "", name));
    const pre = createElement("pre", "", indentJson(call.function?.arguments ?? call.custom?.input));
    pre.tabIndex = 0;
    element.append(title, pre);
    return element;
}

function indentJson(text) {
    try {
        return JSON.stringify(JSON.parse(text), null, 2);
    } catch {
        return text ?? "";
    }
}

/** The element of an answer that is still arriving. */
export class AnswerView {
    element = createElement("article", "message message-assistant");
    #text = createElement("div", "message-text");
    #reasoning = null;
    #calls = createElement("div");

    constructor() {
        const role = createElement("h3", "message-role", getText("roleassistant"));
        this.element.append(role, this.#text, this.#calls);
        this.element.setAttribute("aria-busy", "true");
    }

    /** Show what has arrived; code gets its blocks at the end. */
    update(answer, isComplete = false) {
        if (answer.reasoning) {
            if (this.#reasoning === null) {
                this.#reasoning = renderReasoning("");
                this.#text.before(this.#reasoning);
            }
            this.#reasoning.lastChild.textContent = answer.reasoning;
        }
        const text = answer.text + answer.refusal;
        if (isComplete) {
            showBlocks(this.#text, text);
            this.#calls.replaceChildren(...answer.calls.map(renderCall));
            this.element.removeAttribute("aria-busy");
        } else {
            this.#text.textContent = text;
        }
    }
}
