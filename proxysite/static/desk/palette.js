// The quick search: opened by its button or Ctrl+K, answers while one types, arrows choose.

const dialog = document.querySelector("#palette");
const field = dialog?.querySelector("input[name=q]");
const list = dialog?.querySelector("#palette-results");
let question = 0; // answers that come late are dropped

const openPalette = () => {
  if (dialog.open) return;
  dialog.showModal();
  field.select();
  ask();
};

const showFindings = (findings) => {
  list.replaceChildren(...findings.map((finding, index) => {
    const entry = document.createElement("li");
    const link = document.createElement("a");
    link.href = finding.address;
    link.textContent = finding.label;
    const kind = document.createElement("span");
    kind.className = "quiet";
    kind.textContent = ` ${finding.kind}`;
    link.append(kind);
    if (index === 0) link.classList.add("is-chosen");
    entry.append(link);
    return entry;
  }));
};

const ask = async () => {
  question += 1;
  const own = question;
  const form = field.form;
  try {
    const answer = await fetch(form.action, { method: "POST", body: new FormData(form) });
    if (answer.ok && own === question) showFindings((await answer.json()).findings);
  } catch {
    // the next letter asks again
  }
};

const move = (step) => {
  const links = [...list.querySelectorAll("a")];
  const now = links.findIndex((link) => link.classList.contains("is-chosen"));
  const next = links[(now + step + links.length) % links.length];
  links[now]?.classList.remove("is-chosen");
  next?.classList.add("is-chosen");
  next?.scrollIntoView({ block: "nearest" });
};

if (dialog) {
  let timer;
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      openPalette();
    }
  });
  document.querySelector("#palette-button").addEventListener("click", openPalette);
  field.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(ask, 120); });
  field.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      move(event.key === "ArrowDown" ? 1 : -1);
    }
  });
  field.form.addEventListener("submit", (event) => {
    event.preventDefault();
    list.querySelector("a.is-chosen")?.click();
  });
}
