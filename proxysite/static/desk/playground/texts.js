// The page's translated texts: the template writes them as data attributes of one element.

const element = document.getElementById("playground-texts");

/** Return a text, with `{name}` replaced by the values. */
export function getText(name, values = {}) {
    const text = element.dataset[name] ?? name;
    return text.replace(/\{(\w+)\}/g, (whole, key) => values[key] ?? whole);
}

/** Return a new element with a class and a text; the text is never HTML. */
export function createElement(tag, className = "", text = "") {
    const created = document.createElement(tag);
    if (className) created.className = className;
    if (text) created.textContent = text;
    return created;
}

/** Return a copy of the first element of a template. */
export function copyTemplate(id) {
    return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

/** Return a whole number in the viewer's notation. */
export function formatCount(value) {
    return Number(value).toLocaleString(document.documentElement.lang);
}
