"use strict";
// Tables sort by the heading that is pressed; a choice of metric shows its rows alone. Without this script all rows
// are there, in their own order.

function sortKey(row, column) {
  const cell = row.cells[column];
  const number = cell.dataset.value === undefined ? NaN : Number(cell.dataset.value);
  return { number, text: cell.textContent.trim() };
}

function sortBy(table, heading) {
  const column = heading.cellIndex;
  const rising = heading.getAttribute("aria-sort") !== "ascending";
  for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
  const sign = rising ? 1 : -1;
  for (const body of table.tBodies) {
    const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
    const keyed = rows.map((row) => ({ row, key: sortKey(row, column) }));
    const numbers = keyed.some(({ key }) => Number.isFinite(key.number));
    keyed.sort(({ key: a }, { key: b }) => {
      if (!numbers) return sign * a.text.localeCompare(b.text, "en", { numeric: true });
      const [known, other] = [Number.isFinite(a.number), Number.isFinite(b.number)];
      // What has no number stays at the end, whichever way the others run.
      return known && other ? sign * (a.number - b.number) : Number(other) - Number(known);
    });
    body.append(...keyed.map(({ row }) => row));
  }
}

for (const table of document.querySelectorAll(".p4d table.sortable")) {
  for (const heading of table.tHead.rows[0].cells) {
    if (heading.classList.contains("picture")) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => sortBy(table, heading));
  }
}

for (const choice of document.querySelectorAll(".p4d select[data-table]")) {
  const table = document.getElementById(choice.dataset.table);
  const show = () => {
    for (const body of table.tBodies) {
      body.hidden = body.dataset.metric !== choice.value;
      for (const row of body.querySelectorAll("tr.group")) row.hidden = true;
    }
  };
  choice.addEventListener("change", show);
  choice.closest("label").hidden = false;
  show();
}

window.phys4dReady = true;
