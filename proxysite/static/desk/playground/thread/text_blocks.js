// Show a text that a model or a person wrote. It is text, never HTML: a fence around code makes a
// block of its own, and nothing else is interpreted.

import { createElement } from "../texts.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)[^`]*$/;

/** Return the blocks of a text: {text, language}; `language` is null outside of code. */
export function splitBlocks(text) {
    const blocks = [];
    let lines = [];
    let fence = null;
    const close = (language) => {
        const content = lines.join("\n");
        if (language !== null) blocks.push({ text: content, language });
        else if (content.trim()) blocks.push({ text: content.replace(/^\n+|\n+$/g, ""), language });
        lines = [];
    };
    for (const line of text.split("\n")) {
        const match = FENCE.exec(line);
        if (fence === null && match) {
            close(null);
            fence = { mark: match[1], language: match[2] };
        } else if (fence !== null && isEnd(line, fence.mark)) {
            close(fence.language);
            fence = null;
        } else {
            lines.push(line);
        }
    }
    close(fence === null ? null : fence.language);
    return blocks;
}

function isEnd(line, mark) {
    const trimmed = line.trim();
    return trimmed.length >= mark.length && trimmed === mark[0].repeat(trimmed.length);
}

/** Replace the content of an element by the blocks of a text. */
export function showBlocks(element, text) {
    element.replaceChildren(...splitBlocks(text).map(renderBlock));
}

function renderBlock({ text, language }) {
    if (language === null) return createElement("div", "prose", text);
    const figure = createElement("figure", "code");
    if (language) figure.append(createElement("figcaption", "quiet", language));
    const pre = createElement("pre", "", text);
    pre.tabIndex = 0;
    figure.append(pre);
    return figure;
}
