// The differences of two texts, word by word.

const MOST_CELLS = 9_000_000; // of the table of common words; longer texts are compared line by line

/** Return [{kind, text}]: `same`, `removed` (only in the first text) or `added` (in the second). */
export function diffTexts(first, second) {
    let left = first.match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) ?? [];
    let right = second.match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) ?? [];
    if (left.length * right.length > MOST_CELLS) {
        left = first.match(/[^\n]*\n?/g).filter(Boolean);
        right = second.match(/[^\n]*\n?/g).filter(Boolean);
    }
    if (left.length * right.length > MOST_CELLS) {
        return [{ kind: "removed", text: first }, { kind: "added", text: second }];
    }
    return joinPieces(walk(left, right, countCommon(left, right)));
}

/** Return the table of the lengths of the longest common rows, from each pair of places on. */
function countCommon(left, right) {
    const width = right.length + 1;
    const table = new Uint32Array((left.length + 1) * width);
    for (let row = left.length - 1; row >= 0; row -= 1) {
        for (let column = right.length - 1; column >= 0; column -= 1) {
            const place = row * width + column;
            table[place] = left[row] === right[column]
                ? table[place + width + 1] + 1
                : Math.max(table[place + width], table[place + 1]);
        }
    }
    return table;
}

function* walk(left, right, table) {
    const width = right.length + 1;
    let row = 0;
    let column = 0;
    while (row < left.length && column < right.length) {
        const place = row * width + column;
        if (left[row] === right[column]) {
            yield { kind: "same", text: left[row] };
            row += 1;
            column += 1;
        } else if (table[place + width] >= table[place + 1]) {
            yield { kind: "removed", text: left[row] };
            row += 1;
        } else {
            yield { kind: "added", text: right[column] };
            column += 1;
        }
    }
    for (; row < left.length; row += 1) yield { kind: "removed", text: left[row] };
    for (; column < right.length; column += 1) yield { kind: "added", text: right[column] };
}

/** Return the pieces with neighbours of one kind joined. */
function joinPieces(pieces) {
    const joined = [];
    for (const piece of pieces) {
        const last = joined.at(-1);
        if (last?.kind === piece.kind) last.text += piece.text;
        else joined.push({ ...piece });
    }
    return joined;
}
