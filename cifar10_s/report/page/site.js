"use strict";

document.documentElement.classList.add("js");

for (const board of document.querySelectorAll(".leaderboard")) {
  const body = board.querySelector("tbody");
  const rows = [...body.rows];
  const heads = [...board.querySelectorAll("thead th")];
  const filters = [...board.querySelectorAll("[data-filter]")];
  const value = (row, column) => row.cells[column].dataset.value;

  // Numbers rise, names follow the alphabet; what is missing comes last in either order.
  const sort = (column, falls) => {
    const sign = falls ? -1 : 1;
    const sorted = [...rows].sort((one, other) => {
      const [a, b] = [value(one, column), value(other, column)];
      if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
      return sign * (column ? a - b : a.localeCompare(b));
    });
    body.append(...sorted);
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const falls = head.getAttribute("aria-sort") === "ascending";
      for (const one of heads) one.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", falls ? "descending" : "ascending");
      sort(column, falls);
    });
  });

  const filter = () => {
    const [row, column] = filters.map((input) => input.value.trim().toLowerCase());
    const isShown = (name, text) => name === undefined || name.toLowerCase().includes(text);
    for (const one of rows) one.hidden = !isShown(one.dataset.row, row);
    heads.forEach((head, place) => {
      head.hidden = !isShown(head.dataset.column, column);
      for (const one of rows) one.cells[place].hidden = head.hidden;
    });
    const shown = rows.filter((one) => !one.hidden).length;
    const columns = heads.filter((head) => head.dataset.column && !head.hidden).length;
    board.querySelector("output").textContent = `${shown} of ${rows.length} configurations, ${columns} of ${heads.length - 2} strategies`;
  };
  for (const input of filters) input.addEventListener("input", filter);
  board.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  filter();
}
