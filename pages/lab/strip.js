// The strip of layers. What a person does is drawn at once and sent as the two sets of dropped sublayers; the page answers with
// the number of the last message it has read, so that an answer to an older click never undoes a newer one.

const ROWS = ["attention", "mlp", "block"];
const HEADINGS = { attention: "Attention", mlp: "MLP", block: "Block" };
const PARTS = { attention: ["attention"], mlp: ["mlp"], block: ["attention", "mlp"] };

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".strip");
  const strip = (root.strip ??= new Strip(root));
  strip.send = (message) => setStateValue("dropped", message);
  strip.show(data);
  return () => window.removeEventListener("pointerup", strip.released);
}

class Strip {
  constructor(root) {
    this.grid = root.querySelector(".grid");
    this.readout = root.querySelector(".readout");
    this.number = 0; // of the last message
    this.at = { row: 0, layer: 0 }; // the one cell that Tab reaches
    this.anchor = { layer: 0, drop: true }; // what was clicked last, and what became of it
    this.drag = null;
    this.released = () => this.endDrag();
    const listen = (event, act) => this.grid.addEventListener(event, act);
    listen("click", (event) => this.clicked(event));
    listen("keydown", (event) => this.pressed(event));
    listen("pointerdown", (event) => this.beginDrag(event));
    listen("pointerover", (event) => this.dragOver(event));
    listen("focusin", (event) => this.tell(cellOf(event)));
    listen("pointerleave", () => this.tell(null));
  }

  show(data) {
    window.addEventListener("pointerup", this.released); // once, however often it is added
    if (this.data?.layers !== data.layers) this.build(data.layers);
    const stale = this.number > data.read && this.data;
    this.number = Math.max(this.number, data.read);
    this.data = data;
    if (!stale) this.dropped = sets(data.dropped);
    this.draw();
  }

  build(layers) {
    this.at = { row: 0, layer: 0 };
    this.grid.style.setProperty("--layers", layers);
    this.grid.setAttribute("aria-colcount", layers + 1);
    const numbers = row("Layer");
    for (let layer = 0; layer < layers; layer++) numbers.append(made("span", { role: "columnheader", class: "number" }, layer));
    this.cells = ROWS.map(() => []);
    const lines = ROWS.map((kind, place) => {
      const line = row(HEADINGS[kind]);
      for (let layer = 0; layer < layers; layer++) {
        const cell = made("button", { type: "button", "data-row": place, "data-layer": layer, tabindex: -1 });
        const holder = made("span", { role: "gridcell" });
        holder.append(cell);
        line.append(holder);
        this.cells[place].push(cell);
      }
      return line;
    });
    this.grid.replaceChildren(numbers, ...lines);
  }

  draw(dropped = this.dropped) {
    ROWS.forEach((kind, place) => {
      const { shade, said, colour } = this.data.rows[kind];
      this.cells[place].forEach((cell, layer) => {
        const gone = PARTS[kind].map((part) => dropped[part].has(layer));
        const state = gone.every(Boolean) ? "true" : gone.some(Boolean) ? "mixed" : "false";
        const says = { true: "dropped", mixed: "partly dropped", false: "kept" }[state];
        cell.setAttribute("aria-pressed", state);
        cell.setAttribute("aria-label", [`${kind === "mlp" ? "MLP" : kind} ${layer}`, says, said[layer]].filter(Boolean).join(", "));
        cell.style.setProperty("--colour", colour);
        cell.style.setProperty("--shade", shade[layer] ?? 0.35);
        cell.classList.toggle("unknown", shade[layer] === null);
      });
    });
    this.cells.flat().forEach((cell) => (cell.tabIndex = -1));
    this.cells[this.at.row][this.at.layer].tabIndex = 0;
    this.tell(this.told);
  }

  tell(cell) {
    this.told = cell;
    this.readout.textContent = cell
      ? capital(cell.getAttribute("aria-label").replaceAll(", ", " · "))
      : "Point at a cell, or focus it, for its number.";
  }

  // Changes: a range of layers in one row is dropped or put back.

  changed({ row, from, to, drop }) {
    const next = sets(this.dropped);
    for (let layer = Math.min(from, to); layer <= Math.max(from, to); layer++) {
      for (const part of PARTS[ROWS[row]]) next[part][drop ? "add" : "delete"](layer);
    }
    return next;
  }

  commit(change) {
    this.dropped = this.changed(change);
    this.number += 1;
    this.draw();
    this.send({ number: this.number, attention: [...this.dropped.attention], mlp: [...this.dropped.mlp] });
  }

  clicked(event) {
    const cell = cellOf(event);
    if (!cell) return;
    const { row, layer } = placeOf(cell);
    const again = event.detail === 2 && layer === this.anchor.layer;
    this.at = { row, layer };
    if (event.shiftKey) return this.commit({ row, from: this.anchor.layer, to: layer, drop: this.anchor.drop });
    if (again) return this.commit({ row: 2, from: layer, to: layer, drop: this.anchor.drop }); // a double click: the block
    this.anchor = { layer, drop: cell.getAttribute("aria-pressed") !== "true" };
    this.commit({ row, from: layer, to: layer, drop: this.anchor.drop });
  }

  pressed(event) {
    const last = this.data.layers - 1;
    let { row, layer } = this.at;
    if (event.key === "Escape" && this.drag) return this.cancelDrag();
    if (event.key === "ArrowLeft") layer -= 1;
    else if (event.key === "ArrowRight") layer += 1;
    else if (event.key === "ArrowUp") row -= 1;
    else if (event.key === "ArrowDown") row += 1;
    else if (event.key === "Home") [row, layer] = [event.ctrlKey ? 0 : row, 0];
    else if (event.key === "End") [row, layer] = [event.ctrlKey ? 2 : row, last];
    else return;
    event.preventDefault();
    this.at = { row: Math.max(0, Math.min(2, row)), layer: Math.max(0, Math.min(last, layer)) };
    if (event.shiftKey) this.commit({ row: this.at.row, from: this.anchor.layer, to: this.at.layer, drop: this.anchor.drop });
    else this.draw();
    this.cells[this.at.row][this.at.layer].focus();
  }

  // A drag stays in the row where it began. Fingers scroll instead.

  beginDrag(event) {
    const cell = cellOf(event);
    if (!cell || event.pointerType === "touch" || event.button !== 0 || event.shiftKey) return;
    const { row, layer } = placeOf(cell);
    this.drag = { row, from: layer, to: layer, drop: cell.getAttribute("aria-pressed") !== "true" };
  }

  dragOver(event) {
    const cell = cellOf(event);
    this.tell(cell);
    if (!cell || !this.drag) return;
    this.drag.to = placeOf(cell).layer;
    this.draw(this.changed(this.drag));
  }

  endDrag() {
    const drag = this.drag;
    this.drag = null;
    if (!drag || drag.from === drag.to) return; // a click tells of itself
    this.at = { row: drag.row, layer: drag.to };
    this.anchor = { layer: drag.to, drop: drag.drop };
    this.commit(drag);
  }

  cancelDrag() {
    this.drag = null;
    this.draw();
  }
}

const cellOf = (event) => event.target.closest?.("button") ?? null;
const placeOf = (cell) => ({ row: Number(cell.dataset.row), layer: Number(cell.dataset.layer) });
const sets = ({ attention, mlp }) => ({ attention: new Set(attention), mlp: new Set(mlp) });
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

function made(tag, attributes, text = "") {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

function row(heading) {
  const line = made("div", { role: "row", class: "row" });
  line.append(made("span", { role: "rowheader", class: "heading" }, heading));
  return line;
}
