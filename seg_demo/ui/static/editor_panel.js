// The lists beside the picture: classes to paint with, and (for separate objects) the objects. Names come from strangers: they
// are only ever written as textContent.

const FILTER_FROM = 12; // classes from which a filter helps
const LISTED_OBJECTS = 300;

function node(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// Colours that stay apart for any number of objects: hues in golden-ratio steps, as the server's.
function objectColor(number) {
  const hue = (0.58 + number * 0.618034) % 1;
  const light = [0.55, 0.42, 0.68][number % 3];
  const channel = (n) => {
    const k = (n + hue * 12) % 12;
    return Math.round(255 * (light - 0.75 * Math.min(light, 1 - light) * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}

class Panel {
  // `act`: { pickClass(id), pickObject(id), addClass(name) } of the editor.
  constructor(root, act) {
    this.root = root;
    this.act = act;
    const find = (name) => root.querySelector(".se-" + name);
    Object.assign(this, { classes: find("classes"), objects: find("objects"), filter: find("filter"), form: find("add") });
    this.filter.addEventListener("input", () => this.narrow());
    for (const field of [this.filter, this.form.elements[0]]) field.placeholder = say(field.dataset.label);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      const name = this.form.elements[0].value.trim();
      if (name) act.addClass(name);
      this.form.reset();
    });
    for (const list of [this.classes, this.objects]) list.addEventListener("keydown", (event) => this.walk(event, list));
  }

  // `classes`: [{ id, name, color }]; `objects`: whether objects have colours of their own, so that those of classes are drawn nowhere.
  showClasses(classes, current, objects) {
    this.classes.replaceChildren(...classes.map((row, index) => {
      const ignored = row.id === IGNORE;
      const button = this.row(ignored ? say("ignore") : row.name, objects && !ignored ? null : row.color, row.id === current, () => this.act.pickClass(row.id));
      if (index < 10) button.append(node("kbd", "", String(index)));
      button.dataset.id = row.id;
      return button;
    }));
    this.filter.hidden = classes.length < FILTER_FROM;
    this.narrow();
  }

  narrow() {
    const wanted = this.filter.hidden ? "" : this.filter.value.trim().toLowerCase();
    for (const button of this.classes.children) button.hidden = !button.textContent.toLowerCase().includes(wanted);
  }

  // `objects`: [{ id, name, color }].
  showObjects(objects, current) {
    const shown = objects.slice(0, LISTED_OBJECTS);
    const chosen = objects.find((row) => row.id === current);
    if (chosen && !shown.includes(chosen)) shown.unshift(chosen);
    const focused = this.objects.contains(document.activeElement) ? document.activeElement.dataset.id : null;
    this.objects.replaceChildren(...shown.map((row) => {
      const button = this.row(row.name, row.color, row.id === current, () => this.act.pickObject(row.id));
      button.dataset.id = row.id;
      return button;
    }));
    // The row that had the keys has them again, else the picture: on no element at all they would be the browser's own.
    if (focused !== null) (this.objects.querySelector(`[data-id="${focused}"]`) || this.root.querySelector(".se-stage")).focus({ preventScroll: true });
    const more = objects.length - shown.length;
    if (more > 0) this.objects.append(node("p", "se-more", "+ " + number(more)));
    this.root.querySelector(".se-objectcount").textContent = number(objects.length);
  }

  row(name, color, chosen, pick) {
    const button = node("button", "se-row");
    button.type = "button";
    button.setAttribute("role", "option");
    button.setAttribute("aria-selected", String(chosen));
    button.tabIndex = chosen ? 0 : -1;
    const swatch = node("i", "se-swatch");
    if (color) swatch.style.background = "rgb(" + color.join(",") + ")";
    else swatch.style.visibility = "hidden"; // an empty one looks like a box to tick
    button.append(swatch, node("span", "se-name", name));
    button.addEventListener("click", pick);
    return button;
  }

  mark(list, id) {
    let any = false;
    for (const button of list.querySelectorAll(".se-row")) {
      const chosen = button.dataset.id === String(id);
      any ||= chosen;
      button.setAttribute("aria-selected", String(chosen));
      button.tabIndex = chosen ? 0 : -1;
      // Within the list only: the page must not jump.
      if (chosen) list.scrollTop = Math.min(button.offsetTop, Math.max(list.scrollTop, button.offsetTop + button.offsetHeight - list.clientHeight));
    }
    const first = list.querySelector(".se-row");
    if (!any && first) first.tabIndex = 0;
  }

  // Arrow keys, Home and End move in a list; it is one stop of the Tab key.
  walk(event, list) {
    const rows = [...list.querySelectorAll(".se-row:not([hidden])")];
    const at = rows.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (to === undefined || !rows[to]) return;
    event.preventDefault();
    rows[to].focus();
    rows[to].click();
  }
}
