// One model with its thread: it sends its messages, shows the answer as it arrives, and stops.

import { Answer } from "./wire/answer.js";
import { readEvents } from "./wire/event_stream.js";
import { showFacts } from "./thread/facts.js";
import { AnswerView, renderMessage } from "./thread/message_view.js";
import { FieldError, buildBody } from "./wire/request_body.js";
import { ApiError, readJson } from "./wire/session_key.js";
import { copyTemplate, createElement, getText } from "./texts.js";
import { renderToolForm } from "./thread/tool_results.js";

const NEAR_BOTTOM_PIXELS = 80;

export class Pane {
    messages = [];
    lastBody = null; // the body of the last request
    ownSettings = null; // a form, when the settings are not shared
    #desk;
    #thread;
    #abort = null;

    constructor(desk, model = "") {
        this.#desk = desk;
        this.element = copyTemplate("pane-template");
        this.#thread = this.#find(".pane-thread");
        this.modelField = this.#find(".pane-model");
        this.modelField.value = model;
        this.#listen(".pane-stop", () => this.stop());
        this.#listen(".pane-again", () => this.runAgain());
        this.#listen(".pane-code", () => desk.showCode(this));
        this.#listen(".pane-remove", () => desk.removePane(this));
        this.#showState();
    }

    #find(selector) {
        return this.element.querySelector(selector);
    }

    #listen(selector, handle) {
        this.#find(selector).addEventListener("click", handle);
    }

    /** The text of the last message, if it is an answer, with its model. */
    get lastAnswer() {
        const last = this.messages.at(-1);
        const text = last?.role === "assistant" ? last.content : "";
        return { label: this.modelField.value, text: text ?? "" };
    }

    get isRunning() {
        return this.#abort !== null;
    }

    /** Add messages to the thread. */
    addMessages(messages) {
        this.#find(".tool-results")?.remove();
        this.messages.push(...messages);
        this.#thread.append(...messages.map((message) => this.#render(message)));
        this.#scroll(true);
    }

    /** Return the element of a message; an own text has a button to edit it. */
    #render(message) {
        const element = renderMessage(message);
        if (message.role !== "user" || typeof message.content !== "string") return element;
        const button = createElement("button", "button button-small button-quiet", getText("edit"));
        button.type = "button";
        button.addEventListener("click", () => {
            const own = this.messages.filter(({ role }) => role === "user");
            if (!this.isRunning) this.#desk.editMessage(own.indexOf(message));
        });
        element.querySelector(".message-role").append(" ", button);
        return element;
    }

    /** Remove the user's message of a place, and all after it; return its text. */
    takeBack(place) {
        const own = this.messages.filter(({ role }) => role === "user");
        const message = own[place];
        if (message === undefined) return "";
        this.messages = this.messages.slice(0, this.messages.indexOf(message));
        this.#redraw();
        return typeof message.content === "string" ? message.content : "";
    }

    /** Show the messages anew, without errors and forms between them. */
    #redraw() {
        this.#thread.replaceChildren(...this.messages.map((message) => this.#render(message)));
        this.#find(".pane-facts").replaceChildren();
        this.#showState();
    }

    /** Forget the thread. */
    clear() {
        this.stop();
        this.messages = [];
        this.lastBody = null;
        this.#thread.replaceChildren();
        this.#find(".pane-facts").replaceChildren();
        this.#showState();
    }

    stop() {
        this.#abort?.abort();
    }

    /** Send the messages again, without the answer that they got. */
    async runAgain() {
        while (this.messages.at(-1)?.role === "assistant") this.messages.pop();
        this.#redraw();
        await this.run();
    }

    /** Send the messages, and show the answer. */
    async run() {
        if (this.isRunning || !this.messages.length) return;
        let body;
        try {
            body = buildBody(this.#desk.findSettings(this), this.modelField.value.trim(), this.messages);
        } catch (error) {
            if (!(error instanceof FieldError)) throw error;
            this.#showError(new ApiError(0, { error: { message: error.message } }));
            return;
        }
        this.lastBody = body;
        this.#abort = new AbortController();
        this.#showState();
        const answer = new Answer();
        const view = new AnswerView();
        this.#thread.append(view.element);
        try {
            await this.#receive(body, answer, view);
            if (answer.error) this.#showError(new ApiError(200, answer.error, answer.requestId));
        } catch (error) {
            if (error.name === "AbortError") {
                answer.isStopped = true;
                view.element.append(createElement("p", "notice notice-wait", getText("stopped")));
            } else {
                this.#showError(error);
                answer.status = error.status ?? 0;
            }
        } finally {
            this.#abort = null;
            this.#finish(answer, view);
        }
    }

    async #receive(body, answer, view) {
        const response = await this.#desk.sessionKey.fetch("/v1/chat/completions", {
            method: "POST",
            headers: { "content-type": "application/json" },
            body: JSON.stringify(body),
            signal: this.#abort.signal,
        });
        answer.requestId = response.headers.get("x-request-id") ?? "";
        answer.provider = response.headers.get("x-proxysite-provider") ?? "";
        if (!response.ok) {
            throw new ApiError(response.status, await readJson(response), answer.requestId);
        }
        if (!body.stream) {
            answer.add(await response.json());
            return;
        }
        let isDue = false;
        const show = () => {
            isDue = false;
            view.update(answer);
            this.#scroll();
        };
        for await (const data of readEvents(response)) {
            if (data === "[DONE]") break;
            answer.add(JSON.parse(data));
            if (!isDue) {
                isDue = true;
                requestAnimationFrame(show);
            }
        }
    }

    #finish(answer, view) {
        answer.end();
        if (answer.isEmpty) view.element.querySelector(".message-text").remove();
        requestAnimationFrame(() => {
            view.update(answer, true);
            this.#scroll();
        });
        if (!answer.isEmpty) this.messages.push(answer.makeMessage());
        const facts = this.#find(".pane-facts");
        showFacts(facts, answer, this.#desk.sessionKey, this.#desk.recordUrl);
        if (answer.calls.length) {
            this.#thread.append(renderToolForm(answer.calls, (results) => {
                this.addMessages(results);
                this.run();
            }));
        }
        this.#desk.announce(getText("complete", { model: this.modelField.value }));
        this.#showState();
    }

    #showError(error) {
        const notice = createElement("div", "notice notice-bad");
        const status = error.status ? `${error.status} ` : "";
        notice.append(createElement("p", "", status + (error.message || String(error))));
        if (error.body?.error?.type) {
            const details = createElement("details");
            details.append(createElement("summary", "", getText("errorSent")));
            details.append(createElement("pre", "", JSON.stringify(error.body, null, 2)));
            notice.append(details);
        }
        notice.setAttribute("role", "alert");
        this.#thread.append(notice);
        this.#scroll(true);
    }

    #showState() {
        const last = this.messages.at(-1);
        this.#find(".pane-stop").hidden = !this.isRunning;
        this.#find(".pane-again").hidden = this.isRunning || this.lastBody === null || !last;
        this.#find(".pane-code").hidden = this.lastBody === null;
        this.#desk.showState();
    }

    #scroll(isForced = false) {
        const thread = this.#thread;
        const below = thread.scrollHeight - thread.scrollTop - thread.clientHeight;
        if (isForced || below < NEAR_BOTTOM_PIXELS + 40) thread.scrollTop = thread.scrollHeight;
    }
}
