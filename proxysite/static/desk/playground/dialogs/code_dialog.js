// The dialog with the code of the last request.

import { renderCurl, renderNode, renderPython } from "./code_view.js";
import { getText } from "../texts.js";

const RENDERERS = { curl: renderCurl, python: renderPython, node: renderNode };

export class CodeDialog {
    #baseUrl;
    #sessionKey;
    #dialog = document.getElementById("code-dialog");
    #form = document.getElementById("code-form");
    #code = document.getElementById("code-text");
    #body = null;

    constructor(baseUrl, sessionKey) {
        this.#baseUrl = baseUrl;
        this.#sessionKey = sessionKey;
        this.#form.addEventListener("change", () => this.#render());
    }

    /** Open the dialog with the code of a request body. */
    async show(body) {
        this.#body = body;
        await this.#render();
        this.#dialog.showModal();
    }

    async #render() {
        const fields = this.#form.elements;
        const key = fields.with_key.checked ? await this.#sessionKey.get() : "";
        const time = this.#sessionKey.end.toLocaleTimeString(document.documentElement.lang);
        document.getElementById("code-end").textContent = key ? getText("keyEnds", { time }) : "";
        this.#code.textContent = RENDERERS[fields.language.value](this.#baseUrl, this.#body, key);
    }
}
