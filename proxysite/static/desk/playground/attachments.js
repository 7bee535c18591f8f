// Images and files that go with the next message. They are sent as data within it; a file that is
// too large for that is stored under /v1/files and named by its id.

import { ApiError, readJson } from "./wire/session_key.js";
import { createElement, getText } from "./texts.js";

const LARGEST_DATA_BYTES = 4 * 2 ** 20;

export class Attachments {
    #sessionKey;
    #list;
    #files = [];

    constructor(sessionKey, input, list) {
        this.#sessionKey = sessionKey;
        this.#list = list;
        input.addEventListener("change", () => {
            this.add(input.files);
            input.value = "";
        });
    }

    /** Add files to the next message. */
    add(files) {
        this.#files.push(...files);
        this.#show();
    }

    clear() {
        this.#files = [];
        this.#show();
    }

    get isEmpty() {
        return !this.#files.length;
    }

    #show() {
        this.#list.replaceChildren(...this.#files.map((file) => this.#renderChip(file)));
    }

    #renderChip(file) {
        const chip = createElement("li", "chip", file.name);
        const remove = createElement("button", "button-quiet", "×");
        remove.type = "button";
        remove.setAttribute("aria-label", getText("removeFile", { name: file.name }));
        remove.addEventListener("click", () => {
            this.#files = this.#files.filter((other) => other !== file);
            this.#show();
        });
        chip.append(remove);
        return chip;
    }

    /** Return the content of a message: the text, or a list of parts. Throws ApiError. */
    async makeContent(text) {
        if (this.isEmpty) return text;
        const parts = await Promise.all(this.#files.map((file) => this.#makePart(file)));
        return text ? [{ type: "text", text }, ...parts] : parts;
    }

    async #makePart(file) {
        if (file.type.startsWith("image/")) {
            return { type: "image_url", image_url: { url: await readDataUrl(file) } };
        }
        if (file.size <= LARGEST_DATA_BYTES) {
            const data = await readDataUrl(file);
            return { type: "file", file: { filename: file.name, file_data: data } };
        }
        return { type: "file", file: { file_id: await this.#upload(file) } };
    }

    async #upload(file) {
        const form = new FormData();
        form.append("purpose", "user_data");
        form.append("file", file);
        const response = await this.#sessionKey.fetch("/v1/files", { method: "POST", body: form });
        const body = await readJson(response);
        if (!response.ok) throw new ApiError(response.status, body);
        return body.id;
    }
}

function readDataUrl(file) {
    return new Promise((resolve, reject) => {
        const reader = new FileReader();
        reader.onload = () => resolve(reader.result);
        reader.onerror = () => reject(reader.error);
        reader.readAsDataURL(file);
    });
}
