// The facts of an answer: tokens, cost, times, and the id of its request.

import { createElement, formatCount, getText } from "../texts.js";

const STOPPED_PAUSE_MS = 2000; // an answer that was stopped is recorded a moment later
const RECORDED_STATUS = 429; // a request with an error below it may not have come so far
const ID_IN_ADDRESS = "00000000-0000-0000-0000-000000000000";

/** Show the facts of an answer in an element; the cost comes with the request's record. */
export async function showFacts(element, answer, sessionKey, recordUrl) {
    const facts = [...listTimes(answer), ...listTokens(answer.usage)];
    if (answer.finishReason) facts.push(getText("finish", { reason: answer.finishReason }));
    if (answer.provider) facts.push(getText("from", { name: answer.provider }));
    element.replaceChildren(...facts.map((fact) => createElement("span", "", fact)));
    if (!answer.requestId) return;
    const isRecorded = !answer.status || answer.status >= RECORDED_STATUS;
    element.append(renderRequest(answer.requestId, isRecorded ? recordUrl : ""));
    if (answer.status) return;
    if (answer.isStopped) {
        await new Promise((resolve) => { setTimeout(resolve, STOPPED_PAUSE_MS); });
    }
    const record = await readRecord(answer.requestId, sessionKey);
    if (record === null) return;
    if (!answer.usage) {
        const counts = listTokens(record.usage).map((fact) => createElement("span", "", fact));
        element.prepend(...counts);
    }
    const cost = record.cost_usd === null ? getText("noPrice") : `$${record.cost_usd}`;
    element.lastChild.before(createElement("span", "", cost));
}

function listTimes(answer) {
    const facts = [];
    const first = answer.firstSeconds;
    if (first !== null) facts.push(getText("firstByte", { seconds: formatSeconds(first) }));
    facts.push(getText("total", { seconds: formatSeconds(answer.totalSeconds) }));
    const speed = answer.tokensPerSecond;
    if (speed !== null) facts.push(getText("speed", { count: formatCount(Math.round(speed)) }));
    return facts;
}

function listTokens(usage) {
    if (!usage) return [];
    const details = usage.completion_tokens_details;
    const reasoning = details?.reasoning_tokens ?? usage.reasoning_tokens;
    const cached = usage.prompt_tokens_details?.cached_tokens ?? usage.cached_tokens;
    const facts = [getText("tokens", {
        prompt: formatCount(usage.prompt_tokens ?? 0),
        completion: formatCount(usage.completion_tokens ?? 0),
    })];
    if (reasoning) facts.push(getText("reasoningTokens", { count: formatCount(reasoning) }));
    if (cached) facts.push(getText("cachedTokens", { count: formatCount(cached) }));
    return facts;
}

function renderRequest(requestId, recordUrl) {
    if (!recordUrl) return createElement("code", "", requestId);
    const hex = requestId.replace(/^req_/, "");
    const uuid = hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
    const link = createElement("a", "mono", requestId);
    link.href = recordUrl.replace(ID_IN_ADDRESS, uuid);
    return link;
}

/** Return the record of the request, or null when there is none yet. */
async function readRecord(requestId, sessionKey) {
    const response = await sessionKey.fetch(`/v1/requests/${requestId}`).catch(() => null);
    return response?.ok ? response.json() : null;
}

/** Return seconds with two digits behind the point below ten. */
export function formatSeconds(seconds) {
    return seconds < 10 ? seconds.toFixed(2) : seconds.toFixed(1);
}
