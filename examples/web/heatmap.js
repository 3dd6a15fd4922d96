// Attention weights as a table: output tokens in rows, input tokens in columns.

/**
 * Returns a table whose cells are colored by weight.
 *
 * @param {number[][]} weights A row for each target token.
 * @param {string[]} sourceTokens
 * @param {string[]} targetTokens
 * @returns {HTMLTableElement}
 */
export function createHeatmap(weights, sourceTokens, targetTokens) {
  const source = sourceTokens.map(displayToken);
  const target = targetTokens.map(displayToken);
  const table = document.createElement("table");
  table.className = "heatmap";

  const header = table.createTHead().insertRow();
  header.insertCell(); // the corner
  for (const token of source) header.append(createHeader(token, "col"));

  const body = table.createTBody();
  weights.forEach((row, i) => {
    const line = body.insertRow();
    line.append(createHeader(target[i], "row"));
    row.forEach((weight, j) => {
      const cell = line.insertCell();
      cell.style.setProperty("--weight", weight.toFixed(3));
      cell.title = `${target[i]} attends to ${source[j]}: ${weight.toFixed(2)}`;
      cell.setAttribute("aria-label", weight.toFixed(2));
    });
  });
  return table;
}

function createHeader(token, scope) {
  const header = document.createElement("th");
  header.scope = scope;
  header.textContent = token;
  if ([...token].length > 1) header.className = "long";
  return header;
}

/** Returns a token as it is shown: without SentencePiece's marker, with ␣ for a space. */
function displayToken(token) {
  const text = token.length > 1 ? token.replace(/^▁/, "") : token;
  return text.replace(/[\s▁]/g, "␣");
}
