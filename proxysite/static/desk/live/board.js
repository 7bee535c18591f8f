// The live board: shows the frames that come from the gateway.

import { Link } from "./link.js";
import { Log } from "./log.js";
import {
  changeItem, element, finishedRow, formatCount, formatDuration, labels, runningRow, say, taskItem,
} from "./rows.js";

const board = document.getElementById("live-board");
const find = (id) => document.getElementById(id);
const SPARK_POINTS = 120;
const rates = [];
let clockAhead = 0; // by so many milliseconds the gateway's clock is ahead of the browser's
let lastFrame = null;
let isPaused = false;

const NO_ID = "00000000-0000-0000-0000-000000000000"; // stands for an id in the address of a record
const recordUrl = (id) => board.dataset.record.replace(NO_ID, id.replace("req_", ""));
const finished = new Log({
  list: find("live-finished"),
  box: find("live-finished-box"),
  empty: find("live-finished-empty"),
  button: find("live-new"),
  makeRow: (row) => finishedRow(row, recordUrl),
  writeCount: (count) => say("new_rows", { count: formatCount(count) }),
  onMissed: (count) => showMore("live-finished-more", "more_finished", count),
});
const changes = find("live-changes") && new Log({
  list: find("live-changes"),
  box: find("live-changes"),
  empty: find("live-changes-empty"),
  makeRow: changeItem,
});

function showMore(id, label, count) {
  find(id).hidden = count <= 0;
  find(id).textContent = say(label, { count: formatCount(count) });
}

function showState(name) {
  const link = find("live-link");
  const tone = { live: "good", polling: "good", forbidden: "bad", lost: "bad" }[name] ?? "wait";
  const shown = isPaused && tone === "good" ? "paused" : name;
  if (link.dataset.state === shown) return;
  link.dataset.state = shown;
  link.className = `badge badge-${shown === "paused" ? "wait" : tone}`;
  link.textContent = labels.link[shown];
  if (name === "forbidden") showLogin();
}

function showLogin() {
  const login = element("a", { href: board.dataset.login, text: labels.link.forbidden });
  const notice = element("p", { className: "notice notice-bad", children: [login] });
  find("live-notes").replaceChildren(notice);
}

function showFrame(frame) {
  clockAhead = Date.parse(frame.at) - Date.now();
  lastFrame = frame;
  showCounts(frame);
  showNotes(frame);
  if (!isPaused) showRunning(frame);
  finished.add(frame.finished, "id", frame.kind === "news" ? frame.finished_more : 0);
  if (changes) showPool(frame);
}

function showCounts(frame) {
  const counts = frame.counts;
  find("live-total").textContent = formatCount(counts.waiting + counts.asked + counts.streaming);
  for (const state of ["waiting", "asked", "streaming"]) {
    find(`live-${state}`).textContent = formatCount(counts[state]);
  }
  find("live-rate").textContent = formatCount(frame.per_second);
  find("live-processes").textContent = say("processes", { count: frame.processes });
  rates.push(frame.per_second);
  if (rates.length > SPARK_POINTS) rates.shift();
  const most = Math.max(1, ...rates);
  const first = SPARK_POINTS - rates.length;
  const points = rates.map((rate, index) => `${first + index},${(23 - (22 * rate) / most).toFixed(1)}`);
  find("live-spark").firstElementChild.setAttribute("points", points.join(" "));
}

function showNotes(frame) {
  const notes = [];
  if (frame.database_away) notes.push(say("database_away"));
  if (frame.redis_away) notes.push(say("redis_away"));
  if (frame.unseen_processes > 0) notes.push(say("unseen", { count: frame.unseen_processes }));
  const box = find("live-notes");
  if (box.textContent === notes.join("")) return;
  box.replaceChildren(...notes.map((text) => element("p", { className: "notice notice-wait", text })));
}

function showRunning(frame) {
  const rows = [...frame.running].reverse();
  placeRows(find("live-running"), rows, Date.now() + clockAhead);
  find("live-running-empty").hidden = rows.length > 0;
  const counts = frame.counts;
  const total = counts.waiting + counts.asked + counts.streaming;
  showMore("live-running-more", "more_running", total - rows.length);
}

// A row that did not change stays the same element, so that nothing flickers under the pointer.
function placeRows(list, rows, now) {
  const shown = new Map([...list.children].map((made) => [made.dataset.id, made]));
  rows.forEach((row, index) => {
    const facts = JSON.stringify(row);
    let made = shown.get(row.id);
    shown.delete(row.id);
    if (made?.dataset.facts !== facts) {
      const anew = runningRow(row, now);
      anew.dataset.facts = facts;
      made?.replaceWith(anew);
      made = anew;
    }
    if (list.children[index] !== made) list.insertBefore(made, list.children[index] ?? null);
  });
  for (const gone of shown.values()) gone.remove();
}

function showPool(frame) {
  const rows = [...(frame.changes ?? []), ...[...(frame.breakers ?? [])].reverse()];
  rows.sort((one, two) => Date.parse(one.at) - Date.parse(two.at));
  changes.add(rows, "pk");
  if (!frame.tasks) return;
  find("live-tasks").replaceChildren(...frame.tasks.map(taskItem));
  find("live-tasks-empty").hidden = frame.tasks.length > 0;
}

function tick() {
  if (isPaused) return;
  const now = Date.now() + clockAhead;
  for (const row of find("live-running").children) {
    const since = formatDuration(Math.max(0, now - Date.parse(row.dataset.startedAt)));
    row.querySelector(".live-since").textContent = since;
  }
}

find("live-pause").addEventListener("click", (event) => {
  isPaused = !isPaused;
  event.currentTarget.setAttribute("aria-pressed", String(isPaused));
  finished.pause(isPaused);
  changes?.pause(isPaused);
  if (!isPaused && lastFrame) showRunning(lastFrame);
  showState(link.state);
});

const link = new Link({
  socketPath: board.dataset.socket,
  framePath: board.dataset.frame,
  onFrame: showFrame,
  onState: (name) => { link.state = name; showState(name); },
});
link.state = "connecting";
link.start();
setInterval(tick, 200);
