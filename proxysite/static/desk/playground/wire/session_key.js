// The short-lived API key of the session. It stays in this module's memory: a reload asks again.

import { getText } from "../texts.js";

const EARLY_SECONDS = 60; // the key is renewed so long before it ends
const CHANGE_MS = 1200; // a changed key is in force everywhere after about a second

/** An error as the API or a page of this site sent it; `body` is its JSON, if it has one. */
export class ApiError extends Error {
    constructor(status, body, requestId = "") {
        super(body?.error?.message ?? getText("failed", { status }));
        this.status = status;
        this.body = body;
        this.requestId = requestId;
    }
}

/** The key of the session, asked for when it is needed and renewed before it ends. */
export class SessionKey {
    #url;
    #csrfToken;
    #key = "";
    #expiresAt = 0;
    #running = null;
    source = "";

    constructor(url, csrfToken) {
        this.#url = url;
        this.#csrfToken = csrfToken;
    }

    /** Forget the key, so that the next request asks for it again. */
    drop() {
        this.#key = "";
        this.#running = null;
    }

    /** When the key ends. */
    get end() {
        return new Date(this.#expiresAt * 1000);
    }

    /** Return the key. Throws ApiError. */
    async get() {
        if (this.#key && Date.now() / 1000 < this.#expiresAt - EARLY_SECONDS) return this.#key;
        this.#running ??= this.#open().finally(() => { this.#running = null; });
        return this.#running;
    }

    async #open() {
        const response = await fetch(this.#url, {
            method: "POST",
            headers: { "x-csrftoken": this.#csrfToken },
            body: new URLSearchParams({ source: this.source }),
            redirect: "error",
        });
        const body = await readJson(response);
        if (!response.ok || !body?.key) throw new ApiError(response.status, body);
        this.#key = body.key;
        this.#expiresAt = body.expires_at;
        return this.#key;
    }

    /** Send a request to /v1 with the key, once more with a new one if it has ended. */
    async fetch(path, options = {}) {
        let response = await this.#send(path, options);
        if (response.status === 401) {
            this.drop();
            await new Promise((resolve) => { setTimeout(resolve, CHANGE_MS); });
            response = await this.#send(path, options);
        }
        return response;
    }

    async #send(path, options) {
        const headers = { ...options.headers, authorization: `Bearer ${await this.get()}` };
        return fetch(path, { ...options, headers, credentials: "omit" });
    }
}

/** Return the JSON of a response, or null when it is something else. */
export async function readJson(response) {
    try {
        return await response.json();
    } catch {
        return null;
    }
}
