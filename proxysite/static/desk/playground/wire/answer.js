// An answer while it arrives: its text, reasoning and tool calls, and how long it took.

export class Answer {
    text = "";
    reasoning = "";
    refusal = "";
    calls = [];
    usage = null;
    finishReason = "";
    model = "";
    requestId = "";
    provider = "";
    status = 0; // of an error before the first byte
    isStopped = false;
    error = null; // the error object of a stream that broke off
    #start = performance.now();
    #firstMs = null;
    #endMs = null;

    /** Add the delta or the message of a completion. */
    add(chunk) {
        if (chunk.error) this.error = chunk;
        if (chunk.model) this.model = chunk.model;
        if (chunk.usage) this.usage = chunk.usage;
        const choice = chunk.choices?.[0];
        if (!choice) return;
        if (choice.finish_reason) this.finishReason = choice.finish_reason;
        const part = choice.delta ?? choice.message ?? {};
        const reasoning = part.reasoning_content ?? part.reasoning ?? "";
        const hasContent = part.content || reasoning || part.refusal || part.tool_calls?.length;
        if (hasContent && this.#firstMs === null) this.#firstMs = performance.now() - this.#start;
        this.text += part.content ?? "";
        this.reasoning += typeof reasoning === "string" ? reasoning : "";
        this.refusal += part.refusal ?? "";
        (part.tool_calls ?? []).forEach((call, position) => this.#addCall(call, position));
    }

    #addCall(part, position) {
        const index = part.index ?? position;
        this.calls[index] ??= { id: "", type: "function", function: { name: "", arguments: "" } };
        const call = this.calls[index];
        if (part.id) call.id = part.id;
        call.function.name += part.function?.name ?? "";
        call.function.arguments += part.function?.arguments ?? "";
    }

    /** Note the end. */
    end() {
        this.calls = this.calls.filter(Boolean);
        this.#endMs = performance.now() - this.#start;
    }

    get firstSeconds() {
        return this.#firstMs === null ? null : this.#firstMs / 1000;
    }

    get totalSeconds() {
        return (this.#endMs ?? performance.now() - this.#start) / 1000;
    }

    /** Completion tokens per second after the first byte, null when it cannot be told. */
    get tokensPerSecond() {
        const tokens = this.usage?.completion_tokens;
        const seconds = this.totalSeconds - (this.firstSeconds ?? 0);
        return tokens && seconds > 0.005 ? tokens / seconds : null;
    }

    get isEmpty() {
        return !this.text && !this.reasoning && !this.refusal && !this.calls.length;
    }

    /** The answer as a message of the next request. */
    makeMessage() {
        const message = { role: "assistant", content: this.text || null };
        if (this.refusal) message.refusal = this.refusal;
        if (this.calls.length) message.tool_calls = this.calls;
        if (this.calls.length && this.reasoning) message.reasoning_content = this.reasoning;
        return message;
    }
}
