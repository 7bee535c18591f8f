// The request that was just sent, as code: curl, Python and Node.js.

const KEY_VARIABLE = "PROXYSITE_API_KEY";
const PYTHON_WORDS = { true: "True", false: "False", null: "None" };
// fields that OpenAI's Python package takes as arguments; all others go into extra_body
const KNOWN_FIELDS = new Set(`model messages stream stream_options temperature top_p max_tokens
    max_completion_tokens seed stop tools tool_choice response_format reasoning_effort n logprobs
    top_logprobs presence_penalty frequency_penalty logit_bias user metadata store
    parallel_tool_calls service_tier modalities`.split(/\s+/));

/** Return a shell command; `key` is the key itself, or empty for a variable. */
export function renderCurl(baseUrl, body, key) {
    const bearer = key || `$${KEY_VARIABLE}`;
    return [
        `curl -N ${baseUrl}/chat/completions \\`,
        `  -H "Authorization: Bearer ${bearer}" \\`,
        "  -H \"Content-Type: application/json\" \\",
        "  --data-binary @- <<'JSON'",
        JSON.stringify(body, null, 2),
        "JSON",
    ].join("\n");
}

/** Return a program for OpenAI's Python package. */
export function renderPython(baseUrl, body, key) {
    const known = Object.entries(body).filter(([name]) => KNOWN_FIELDS.has(name));
    const extra = Object.fromEntries(
        Object.entries(body).filter(([name]) => !KNOWN_FIELDS.has(name)),
    );
    const fields = known.map(([name, value]) => `    ${name}=${toPython(value, 1)},`);
    if (Object.keys(extra).length) fields.push(`    extra_body=${toPython(extra, 1)},`);
    const apiKey = key ? JSON.stringify(key) : `os.environ["${KEY_VARIABLE}"]`;
    const reading = body.stream
        ? [
            "for chunk in answer:",
            "    if chunk.choices:",
            "        print(chunk.choices[0].delta.content or \"\", end=\"\", flush=True)",
            "print()",
        ]
        : ["print(answer.choices[0].message.content)"];
    return [
        ...(key ? [] : ["import os", ""]),
        "from openai import OpenAI",
        "",
        `client = OpenAI(base_url=${JSON.stringify(baseUrl)}, api_key=${apiKey})`,
        "answer = client.chat.completions.create(",
        ...fields,
        ")",
        ...reading,
    ].join("\n");
}

/** Return a program for OpenAI's package for Node.js. */
export function renderNode(baseUrl, body, key) {
    const apiKey = key ? JSON.stringify(key) : `process.env.${KEY_VARIABLE}`;
    const reading = body.stream
        ? [
            "for await (const chunk of answer) {",
            "  process.stdout.write(chunk.choices[0]?.delta?.content ?? \"\");",
            "}",
            "console.log();",
        ]
        : ["console.log(answer.choices[0].message.content);"];
    return [
        "import OpenAI from \"openai\";",
        "",
        `const client = new OpenAI({ baseURL: ${JSON.stringify(baseUrl)}, apiKey: ${apiKey} });`,
        `const answer = await client.chat.completions.create(${JSON.stringify(body, null, 2)});`,
        ...reading,
    ].join("\n");
}

/** Return a value as Python writes it. JSON's texts are Python's too. */
function toPython(value, depth) {
    const indent = "    ".repeat(depth);
    if (Array.isArray(value) && value.length) {
        const items = value.map((item) => `${indent}    ${toPython(item, depth + 1)},`);
        return `[\n${items.join("\n")}\n${indent}]`;
    }
    if (value !== null && typeof value === "object" && Object.keys(value).length) {
        const items = Object.entries(value).map(
            ([name, item]) =>
                `${indent}    ${JSON.stringify(name)}: ${toPython(item, depth + 1)},`,
        );
        return `{\n${items.join("\n")}\n${indent}}`;
    }
    const text = JSON.stringify(value);
    return PYTHON_WORDS[text] ?? text;
}
