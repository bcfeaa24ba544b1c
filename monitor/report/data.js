// The data of the page: gzip in base64, opened by the browser itself.

const bytesOf = (base64) => {
  const binary = atob(base64);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i += 1) bytes[i] = binary.charCodeAt(i);
  return bytes;
};

const unpack = async (element) => {
  const stream = new Blob([bytesOf(element.textContent)]).stream();
  return new Response(stream.pipeThrough(new DecompressionStream("gzip"))).json();
};

const blocks = [...document.querySelectorAll(".packed-texts")].map((element) => ({
  first: Number(element.dataset.first),
  element,
}));

// The last few blocks that were opened, so that going from trace to trace does not open them anew.
const opened = new Map();

const textsOf = async (row) => {
  const at = row.number - 1;
  const block = blocks.findLast(({ first }) => first <= at);
  if (!opened.has(block.first)) opened.set(block.first, unpack(block.element));
  if (opened.size > 4) opened.delete(opened.keys().next().value);
  const texts = await opened.get(block.first);
  return texts[at - block.first];
};

// What the search looks at: what the list says of a trace, and the value it has in each group.
const haystack = (row) => {
  row.words ??= [
    row.id,
    row.model,
    row.why,
    ...row.by.map((value, n) => settings.groups[n].values[value] ?? ""),
  ]
    .join("\n")
    .toLowerCase();
  return row.words;
};

const quadrantOf = (row) => {
  const [reasoning, answer] = row.quadrant.split("-");
  return row.quadrant ? `reasoning ${reasoning}, answer ${answer}` : "";
};

const verdicts = {
  flagged: "flagged",
  clear: "not flagged",
  partial: "not flagged, in part",
  none: "not assessed",
};
