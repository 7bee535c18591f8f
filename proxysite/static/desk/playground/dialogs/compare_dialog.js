// The dialog with the differences of two answers.

import { createElement } from "../texts.js";
import { diffTexts } from "./word_diff.js";

const TAGS = { same: "span", removed: "del", added: "ins" };

export class CompareDialog {
    #dialog = document.getElementById("compare-dialog");
    #form = document.getElementById("compare-form");
    #text = document.getElementById("compare-text");
    #answers = [];

    constructor() {
        this.#form.addEventListener("change", () => this.#render());
    }

    /** Open the dialog; `answers` are {label, text}, two or more. */
    show(answers) {
        this.#answers = answers;
        const fields = this.#form.elements;
        for (const [place, name] of ["first", "second"].entries()) {
            fields[name].replaceChildren(...answers.map(({ label }, number) => {
                const option = createElement("option", "", `${number + 1}: ${label}`);
                option.value = number;
                return option;
            }));
            fields[name].value = place;
        }
        this.#render();
        this.#dialog.showModal();
    }

    #render() {
        const fields = this.#form.elements;
        const pieces = diffTexts(
            this.#answers[fields.first.value].text,
            this.#answers[fields.second.value].text,
        );
        this.#text.replaceChildren(...pieces.map(({ kind, text }) => (
            createElement(TAGS[kind], "", text)
        )));
    }
}
