// A table whose rows open and whose columns sort: links and buttons, so that keyboard and screen reader know them.
// data: {caption, columns: [{name, label, align, sorts}], rows: [{id, href, current, tone, cells: {name: {text, tone, html}}}], sort}
export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const place = parentElement.querySelector(".place");
  const focused = (parentElement.activeElement || place.getRootNode().activeElement)?.dataset?.focus;
  const make = (tag, css, text) => {
    const element = document.createElement(tag);
    if (css) element.className = css;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const table = make("table");
  table.append(make("caption", "", data.caption));
  const head = make("tr");
  for (const column of data.columns) {
    const cell = make("th", column.align);
    cell.scope = "col";
    if (column.sorts) {
      const down = data.sort === "-" + column.name;
      const up = data.sort === column.name;
      cell.setAttribute("aria-sort", up ? "ascending" : down ? "descending" : "none");
      const button = make("button", "sort", column.label + (up ? " ▲" : down ? " ▼" : ""));
      button.type = "button";
      button.dataset.focus = "sort " + column.name;
      button.title = "Sort by " + column.label;
      button.onclick = () => setTriggerValue("sorted", column.name);
      cell.append(button);
    } else {
      cell.textContent = column.label;
    }
    head.append(cell);
  }
  const top = make("thead");
  top.append(head);
  const body = make("tbody");
  for (const row of data.rows) {
    const line = make("tr", [row.tone || "", row.current ? "current" : ""].join(" ").trim());
    data.columns.forEach((column, index) => {
      const given = row.cells[column.name] || { text: "" };
      const cell = make(index ? "td" : "th", column.align);
      if (!index) cell.scope = "row";
      cell.dataset.label = column.label;
      if (given.text === "") cell.classList.add("empty");
      let inner = given.tone ? make("span", "chip " + given.tone, given.text) : make("span", "", given.text);
      if (!index && row.id !== undefined) {
        const link = make("a", "open");
        link.href = row.href || "#";
        link.dataset.focus = "open " + row.id;
        if (row.current) link.setAttribute("aria-current", "true");
        link.append(inner);
        link.onclick = (event) => {
          if (event.ctrlKey || event.metaKey || event.shiftKey) return;
          event.preventDefault();
          setTriggerValue("opened", row.id);
        };
        inner = link;
      }
      cell.append(inner);
      line.append(cell);
    });
    body.append(line);
  }
  table.append(top, body);
  place.replaceChildren(table);
  if (focused) {
    [...place.querySelectorAll("[data-focus]")].find((element) => element.dataset.focus === focused)?.focus();
  }
}
