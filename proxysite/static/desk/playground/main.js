// The playground: one to three panes, their settings, and the message that goes to all of them.

import { Attachments } from "./attachments.js";
import { CodeDialog } from "./dialogs/code_dialog.js";
import { CompareDialog } from "./dialogs/compare_dialog.js";
import { Pane } from "./pane.js";
import { SessionKey } from "./wire/session_key.js";
import { applyOptions, getStoredAnswer, readTurn, renderStoredAnswer } from "./thread/stored_turn.js";
import { createElement, getText } from "./texts.js";

const MOST_PANES = 3;

class Desk {
    panes = [];

    constructor(root) {
        this.root = root;
        this.recordUrl = root.dataset.recordUrl;
        this.sharedSettings = document.getElementById("shared-settings");
        this.status = document.getElementById("playground-status");
        const token = root.querySelector("[name=csrfmiddlewaretoken]").value;
        this.sessionKey = new SessionKey(root.dataset.keyUrl, token);
        this.codeDialog = new CodeDialog(root.dataset.baseUrl, this.sessionKey);
        this.compareDialog = new CompareDialog();
        this.composer = document.getElementById("composer");
        this.attachments = new Attachments(
            this.sessionKey,
            document.getElementById("composer-files"),
            document.getElementById("composer-list"),
        );
        this.#listen();
    }

    #listen() {
        const listen = (id, kind, handle) => {
            document.getElementById(id)?.addEventListener(kind, handle);
        };
        listen("attach-files", "click", () => document.getElementById("composer-files").click());
        listen("add-pane", "click", () => this.addPane());
        listen("compare-answers", "click", () => this.compareDialog.show(this.#listAnswers()));
        listen("clear-panes", "click", () => this.panes.forEach((pane) => pane.clear()));
        listen("stop-panes", "click", () => this.panes.forEach((pane) => pane.stop()));
        listen("share-settings", "change", (event) => this.#share(event.target.checked));
        listen("key-source", "change", (event) => this.#changeSource(event.target.value));
        this.composer.addEventListener("submit", (event) => {
            event.preventDefault();
            this.send();
        });
        for (const kind of ["paste", "drop"]) {
            this.composer.addEventListener(kind, (event) => this.#takeFiles(event));
        }
        this.composer.elements.message.addEventListener("keydown", (event) => {
            if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            this.send();
        });
    }

    /** Attach the files that were pasted or dropped; a text goes its usual way. */
    #takeFiles(event) {
        const { files } = event.clipboardData ?? event.dataTransfer;
        if (!files.length) return;
        event.preventDefault();
        this.attachments.add(files);
    }

    /** Load the models, and the stored turn that the address names. */
    async open() {
        this.sessionKey.source = document.getElementById("key-source")?.value ?? "";
        this.addPane(new URLSearchParams(location.search).get("model") ?? "");
        try {
            await this.#loadModels();
            if (this.root.dataset.turnUrl) await this.#loadTurn(this.root.dataset.turnUrl);
        } catch (error) {
            this.#showNotice(error.message);
        }
        this.composer.elements.message.focus();
    }

    async #loadModels() {
        const response = await this.sessionKey.fetch("/v1/models");
        const { data } = await response.json();
        const options = data.map(({ id, context_window: window }) => {
            const option = createElement("option");
            option.value = id;
            if (window) option.label = getText("window", { model: id, count: window });
            return option;
        });
        document.getElementById("playground-models").replaceChildren(...options);
        this.models = data.map(({ id }) => id);
        const [first] = this.panes;
        if (first && !first.modelField.value) first.modelField.value = this.models[0] ?? "";
        if (!this.models.length) this.#showNotice(getText("noModels"));
    }

    async #loadTurn(url) {
        const turn = await readTurn(url);
        applyOptions(this.sharedSettings, turn);
        this.root.querySelector(".panes").prepend(renderStoredAnswer(turn));
        this.panes.forEach((pane) => pane.addMessages(turn.messages));
        this.turn = turn;
        this.showState();
    }

    #changeSource(source) {
        this.sessionKey.source = source;
        this.sessionKey.drop();
        this.#loadModels().catch((error) => this.#showNotice(error.message));
    }

    addPane(model = "") {
        if (this.panes.length >= MOST_PANES) return;
        const pane = new Pane(this, model || this.#chooseModel());
        this.panes.push(pane);
        this.root.querySelector(".panes").append(pane.element);
        if (this.turn) pane.addMessages(this.turn.messages);
        if (!document.getElementById("share-settings").checked) this.#giveSettings(pane);
        this.showState();
    }

    #chooseModel() {
        const used = new Set(this.panes.map((pane) => pane.modelField.value));
        return this.models?.find((model) => !used.has(model)) ?? this.models?.[0] ?? "";
    }

    removePane(pane) {
        pane.stop();
        pane.element.remove();
        this.panes = this.panes.filter((other) => other !== pane);
        this.showState();
    }

    #share(isShared) {
        this.sharedSettings.closest("details").hidden = !isShared;
        if (isShared) {
            this.panes.forEach((pane) => {
                pane.ownSettings?.closest("details").remove();
                pane.ownSettings = null;
            });
        } else {
            this.panes.forEach((pane) => this.#giveSettings(pane));
        }
    }

    /** Give a pane settings of its own, with the values of the shared ones. */
    #giveSettings(pane) {
        const details = this.sharedSettings.closest("details").cloneNode(true);
        details.hidden = false;
        pane.ownSettings = details.querySelector("form");
        pane.ownSettings.removeAttribute("id");
        for (const field of this.sharedSettings.elements) {
            const own = pane.ownSettings.elements[field.name];
            if (field.type === "checkbox") own.checked = field.checked;
            else own.value = field.value;
        }
        pane.element.querySelector(".pane-head").after(details);
    }

    findSettings(pane) {
        return pane.ownSettings ?? this.sharedSettings;
    }

    /** Send the typed message to every pane; without one, panes that wait for an answer run. */
    async send() {
        if (this.panes.some((pane) => pane.isRunning)) return;
        const field = this.composer.elements.message;
        const text = field.value;
        if (text.trim() || !this.attachments.isEmpty) {
            let content;
            try {
                content = await this.attachments.makeContent(text);
            } catch (error) {
                this.#showNotice(error.message);
                return;
            }
            field.value = "";
            this.attachments.clear();
            this.panes.forEach((pane) => pane.addMessages([{ role: "user", content }]));
        }
        this.root.querySelector(".playground-notice")?.remove();
        await Promise.all(this.panes.map((pane) => this.#runPane(pane)));
    }

    async #runPane(pane) {
        if (pane.messages.at(-1)?.role !== "assistant") await pane.run();
    }

    /** Take back the user's message of a place, and all after it, in every pane. */
    editMessage(place) {
        const [text] = this.panes.map((pane) => pane.takeBack(place)).filter(Boolean);
        this.composer.elements.message.value = text ?? "";
        this.composer.elements.message.focus();
        this.showState();
    }

    /** Return the last answers, the stored one first. */
    #listAnswers() {
        const stored = this.turn ? [getStoredAnswer(this.turn)] : [];
        return [...stored, ...this.panes.map((pane) => pane.lastAnswer)].filter(({ text }) => text);
    }

    showCode(pane) {
        this.codeDialog.show(pane.lastBody);
    }

    /** Say something to those who hear the page. */
    announce(text) {
        this.status.textContent = text;
    }

    #showNotice(text) {
        const notice = createElement("p", "notice notice-bad playground-notice", text);
        notice.setAttribute("role", "alert");
        this.root.querySelector(".playground-notice")?.remove();
        this.root.querySelector(".panes").before(notice);
    }

    showState() {
        const isRunning = this.panes.some((pane) => pane.isRunning);
        document.getElementById("add-pane").disabled = this.panes.length >= MOST_PANES;
        document.getElementById("stop-panes").hidden = !isRunning;
        const canCompare = !isRunning && this.#listAnswers().length > 1;
        document.getElementById("compare-answers").hidden = !canCompare;
        document.getElementById("send-message").disabled = isRunning;
        this.panes.forEach((pane) => {
            pane.element.querySelector(".pane-remove").hidden = this.panes.length === 1;
        });
    }
}

new Desk(document.getElementById("playground")).open();
