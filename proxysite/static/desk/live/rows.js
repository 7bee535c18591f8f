// Elements of the board. Everything that came from outside is text, never HTML.

const language = document.documentElement.lang || undefined;
const numbers = new Intl.NumberFormat(language);
const timeZone = document.getElementById("live-board").dataset.zone || undefined;
const times = new Intl.DateTimeFormat(language, {
  hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false, timeZone,
});
const money = new Intl.NumberFormat(language, {
  style: "currency", currency: "USD", minimumFractionDigits: 2, maximumFractionDigits: 6,
});
const GOOD = new Set(["complete", "active", "closed", "streaming"]);
const BAD = new Set(["error", "truncated", "interrupted", "disabled", "open", "failing"]);
const OFF = new Set(["abandoned"]);

export const labels = JSON.parse(document.getElementById("live-labels").textContent);

export function element(name, { text, className, children = [], ...attributes } = {}) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined && text !== null) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== "") made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

export function say(name, values = {}) {
  return labels.text[name].replace(/%\((\w+)\)s/g, (_, key) => values[key] ?? "");
}

export function formatCount(count) { return numbers.format(count); }

export function formatDuration(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.floor((ms % 60_000) / 1_000)} s`;
}

export function formatTime(text) {
  const moment = new Date(text);
  const title = moment.toLocaleString(language, { timeZone, timeZoneName: "short" });
  return element("time", { text: times.format(moment), datetime: text, title });
}

function formatCost(micro) {
  return micro === null || micro === undefined ? say("unknown_cost") : money.format(micro / 1_000_000);
}

export function badge(subject, code, title) {
  const tone = GOOD.has(code) ? "good" : BAD.has(code) ? "bad" : OFF.has(code) ? "off" : "wait";
  return element("span", { className: `badge badge-${tone}`, text: labels[subject][code] ?? code, title });
}

function cell(content, className) {
  const made = element("td", { className });
  made.append(content ?? "");
  return made;
}

function linkTo(url, text) {
  return url ? element("a", { href: url, text }) : text;
}

export function runningRow(row, now) {
  const model = cell(row.model, "live-model");
  model.title = `${row.endpoint} ${row.id}`;
  const tries = row.tries > 1 ? ` (${say("tries", { count: row.tries })})` : "";
  const since = formatDuration(Math.max(0, now - Date.parse(row.started_at)));
  const made = element("tr", { "data-id": row.id, children: [
    cell(badge("state", row.state)),
    cell(since, "number live-since"),
    model,
    cell(row.user || "–"),
    cell(row.key || say("no_key"), "mono"),
    cell(`${row.provider || "–"}${tries}`),
    cell(formatCount(row.parts), "number"),
  ] });
  made.dataset.startedAt = row.started_at;
  return made;
}

export function finishedRow(row, recordUrl) {
  const model = cell(linkTo(recordUrl(row.id), row.model || "–"), "live-model");
  model.title = `${row.endpoint} ${row.id}`;
  const problem = [row.http_status, row.error_code].filter(Boolean).join(" ");
  const status = cell(badge("status", row.status, problem));
  if (row.status !== "complete" && problem) status.append(` ${problem}`);
  if (row.request_count > 1) {
    status.append(` (${say("folded", { count: formatCount(row.request_count) })})`);
  }
  const tokens = `${formatCount(row.prompt_tokens)} + ${formatCount(row.completion_tokens)}`;
  return element("tr", { "data-id": row.id, children: [
    status,
    cell(formatTime(row.started_at)),
    model,
    cell(row.user || "–"),
    cell(row.key || say("no_key"), "mono"),
    cell(row.provider || "–"),
    cell(formatDuration(row.first_byte_ms), "number"),
    cell(formatDuration(row.total_ms), "number"),
    cell(tokens, "number"),
    cell(formatCost(row.cost_micro_usd), "number"),
  ] });
}

export function changeItem(row) {
  const isToken = row.after !== undefined;
  const states = isToken
    ? [badge("token", row.before), " → ", badge("token", row.after)]
    : [badge("breaker", row.state)];
  const name = isToken ? `${row.provider} ${row.masked}` : row.provider;
  const children = [formatTime(row.at), " ", linkTo(row.url, name), " ", ...states];
  if (row.reason) children.push(element("p", { className: "quiet", text: row.reason }));
  return element("li", { "data-id": row.pk, children });
}

function endBadge(failed) {
  const className = `badge badge-${failed ? "bad" : "good"}`;
  return element("span", { className, text: say(failed ? "failed" : "done") });
}

export function taskItem(task) {
  const id = `live-task-${task.pk}`;
  const bar = element("progress", { className: "progress", id });
  if (task.total) { bar.max = task.total; bar.value = task.done; }
  const total = task.total ? ` / ${formatCount(task.total)}` : "";
  const count = `${formatCount(task.done)}${total}`;
  const name = element("label", { for: id, children: [linkTo(task.url, task.title)] });
  const children = [name];
  if (task.finished_at) children.push(" ", endBadge(task.failed));
  else children.push(bar);
  const by = task.started_by && say("by", { name: task.started_by });
  const facts = [!task.finished_at && count, task.text, by].filter(Boolean).join(" · ");
  children.push(element("p", { className: "quiet", text: facts }));
  return element("li", { children });
}
