// A form for the results of tool calls, which a person types.

import { createElement, getText } from "../texts.js";

/** Return a form with one field for each call; `send` gets the messages with the results. */
export function renderToolForm(calls, send) {
    const form = createElement("form", "tool-results");
    const fields = calls.map((call) => {
        const name = call.function.name;
        const label = createElement("label", "field", getText("resultOf", { name }));
        const field = createElement("textarea");
        field.rows = 2;
        label.append(field);
        form.append(label);
        return { call, field };
    });
    const button = createElement("button", "button button-primary", getText("sendResults"));
    form.append(button);
    form.addEventListener("submit", (event) => {
        event.preventDefault();
        form.remove();
        send(fields.map(({ call, field }) => (
            { role: "tool", tool_call_id: call.id, content: field.value }
        )));
    });
    return form;
}
