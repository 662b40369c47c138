// A text as tokens: a click, or Enter on the one in focus, tells the page which it was. What a token says is text and never markup.

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".text");
  const text = (root.tokens ??= new Text(root));
  text.choose = (place) => setTriggerValue("chosen", place);
  text.show(data);
}

class Text {
  constructor(root) {
    this.list = root.querySelector(".tokens");
    this.readout = root.querySelector(".readout");
    this.at = 0; // the one token that Tab reaches
    const listen = (event, act) => this.list.addEventListener(event, act);
    listen("click", (event) => this.clicked(event));
    listen("keydown", (event) => this.pressed(event));
    listen("pointerover", (event) => this.tell(tokenOf(event)));
    listen("focusin", (event) => this.tell(tokenOf(event)));
    listen("pointerleave", () => this.tell(null));
  }

  show(data) {
    const written = JSON.stringify(data.tokens);
    if (written !== this.written || data.chosen !== this.chosen) this.at = data.chosen;
    if (written !== this.written) this.build(data.tokens); // else it stays, and with it the focus
    [this.written, this.chosen] = [written, data.chosen];
    this.spans.forEach((span, place) => {
      span.setAttribute("aria-selected", place === data.chosen);
      span.classList.toggle("worst", place >= data.span[0] && place < data.span[1]);
    });
    this.reach(this.at);
  }

  build(tokens) {
    this.spans = tokens.map(({ text, said, ground, ends }, place) => {
      const span = document.createElement("span");
      span.setAttribute("role", "option");
      span.setAttribute("aria-label", `${text.trim() || "space"}, ${said}`);
      span.dataset.place = place;
      span.dataset.said = said.charAt(0).toUpperCase() + said.slice(1);
      span.style.background = ground;
      span.classList.toggle("end", ends);
      span.textContent = text;
      return span;
    });
    this.list.replaceChildren(...this.spans);
    this.tell(null);
  }

  reach(place) {
    this.at = Math.max(0, Math.min(this.spans.length - 1, place));
    this.spans.forEach((span, each) => (span.tabIndex = each === this.at ? 0 : -1));
  }

  tell(token) {
    this.readout.textContent = token ? token.dataset.said : "Point at a token, or focus it, for its numbers.";
  }

  clicked(event) {
    const token = tokenOf(event);
    if (token) this.take(token);
  }

  take(token) {
    this.reach(Number(token.dataset.place));
    token.focus();
    this.choose(this.at);
  }

  pressed(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return; // the browser's own
    const last = this.spans.length - 1;
    const to = { ArrowLeft: this.at - 1, ArrowRight: this.at + 1, Home: 0, End: last }[event.key];
    if (event.key === "Enter" || event.key === " ") this.take(this.spans[this.at]);
    else if (to === undefined) return;
    else {
      this.reach(to);
      this.spans[this.at].focus();
    }
    event.preventDefault();
  }
}

const tokenOf = (event) => event.target.closest?.("[role=option]") ?? null;
