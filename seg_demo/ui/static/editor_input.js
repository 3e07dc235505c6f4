// Mouse, pen, fingers and keys → tools and view. One finger draws and two move; the space bar or the middle button moves, too.

const TOOL_KEYS = { h: "pan", b: "brush", e: "eraser", g: "fill", p: "polygon", i: "pick", r: "region", c: "click", m: "merge", x: "cut", d: "remove" };

const PRESS_MS = 550; // a finger that stays so long selects
const TAPPED = ["fill", "polygon", "pick", "merge", "remove"]; // tools that a finger uses when it is lifted: it may be the first of two

class Input {
  // `editor`: view, tools, screen, use(tool), undo(), redo(), save(), resize(factor), pickIndex(n), removeSelected(), active().
  constructor(stage, editor) {
    Object.assign(this, { stage, editor, down: new Map(), pinch: 0, tap: false, moving: false, space: false, hover: null, cross: null, penDown: false });
    this.pointers();
    this.keys();
  }

  // Where the picture's stage begins on the screen.
  corner() {
    const box = this.stage.getBoundingClientRect();
    return [box.left + this.stage.clientLeft, box.top + this.stage.clientTop];
  }

  local(event, [left, top] = this.corner()) {
    return [event.clientX - left, event.clientY - top];
  }

  image([x, y]) {
    const { view } = this.editor;
    return [(x - view.x) / view.scale, (y - view.y) / view.scale];
  }

  pointers() {
    const { stage, editor } = this;
    const on = (type, handle) => stage.addEventListener(type, (event) => editor.ready && handle(event), { passive: false });
    on("wheel", (event) => {
      const lines = event.deltaMode === 1 ? 16 : 1;
      if (editor.view.zoomBy(Math.exp(-event.deltaY * lines * 0.002), ...this.local(event))) event.preventDefault();
    });
    on("pointerdown", (event) => {
      const clicks = editor.tools.tool === "click";
      if (event.button > (clicks ? 2 : 1) && event.pointerType === "mouse") return;
      stage.focus({ preventScroll: true });
      stage.setPointerCapture(event.pointerId);
      this.down.set(event.pointerId, this.local(event));
      this.cross = null;
      this.penDown = false;
      editor.active();
      clearTimeout(this.pressing);
      this.pressed = this.local(event);
      if (this.down.size > 2) return event.preventDefault(); // a palm beside two fingers
      if (this.down.size === 2) {
        this.pressed = null;
        this.tap = false;
        editor.tools.interrupt();
        this.moving = true;
        this.pinch = this.spread();
      } else if (this.space || event.button === 1 || editor.tools.tool === "pan") this.moving = true;
      else if ((event.ctrlKey || event.metaKey) && event.button === 0) this.select(event);
      else if (event.pointerType === "touch" && TAPPED.includes(editor.tools.tool)) this.tap = true;
      else editor.tools.down(this.image(this.local(event)), { erasing: (event.buttons & 32) !== 0, negative: event.altKey || event.button === 2 });
      if (event.pointerType === "touch" && this.down.size === 1) this.pressing = setTimeout(() => this.down.size === 1 && this.select(event), PRESS_MS);
      editor.screen.draw("part");
      event.preventDefault();
    });
    on("pointermove", (event) => {
      if (this.pressed && this.down.has(event.pointerId) && Math.hypot(...this.local(event).map((at, i) => at - this.pressed[i])) > 6) {
        clearTimeout(this.pressing);
        this.pressed = null;
      }
      this.hover = event.pointerType === "touch" ? null : this.local(event);
      const before = this.down.get(event.pointerId);
      if (before && this.moving) this.moveView(event, before);
      else if (before) {
        const corner = this.corner();
        for (const each of steps(event)) editor.tools.move(this.image(this.local(each, corner)));
      }
      if (before) this.down.set(event.pointerId, this.local(event));
      else if (this.hover && editor.tools.tool === "click") editor.clicks.hover(this.image(this.hover), event.altKey || !editor.clicks.adding ? 0 : 1);
      editor.screen.draw("part");
    });
    on("contextmenu", (event) => editor.tools.tool === "click" && event.preventDefault());
    const up = (event) => {
      if (!this.down.delete(event.pointerId)) return;
      clearTimeout(this.pressing);
      // A click with the hand moves nothing: it selects.
      if (this.pressed && this.moving && event.button === 0 && this.down.size === 0 && editor.tools.tool === "pan" && !this.space) editor.tools.select(this.image(this.local(event)));
      this.pressed = null;
      if (this.down.size === 0) {
        if (!this.moving && this.tap && event.type === "pointerup") editor.tools.down(this.image(this.local(event)));
        else if (!this.moving) event.type === "pointerup" ? editor.tools.up() : editor.tools.interrupt();
        this.moving = this.tap = false;
      }
      editor.screen.draw("part");
    };
    on("pointerup", up);
    on("pointercancel", up);
    on("pointerleave", () => {
      this.hover = null;
      editor.clicks.quiet();
      editor.screen.draw("top");
    });
    on("dblclick", () => editor.tools.tool === "polygon" && (editor.tools.close(), editor.screen.draw("part")));
  }

  // With Ctrl, or a finger that stays: the object under it, whatever the tool. What the tool has begun there never was.
  select(event) {
    const { editor } = this;
    editor.tools.cancel();
    if (editor.clicks.pending) editor.clicks.settle();
    editor.tools.select(this.image(this.local(event)));
    this.moving = true;
    editor.screen.draw("part");
  }

  spread() {
    const [a, b] = [...this.down.values()];
    return Math.hypot(a[0] - b[0], a[1] - b[1]);
  }

  moveView(event, before) {
    const { view } = this.editor;
    const now = this.local(event);
    this.down.set(event.pointerId, now);
    if (this.down.size === 2) {
      const [a, b] = [...this.down.values()];
      const wide = this.spread();
      if (this.pinch > 0) view.zoomBy(wide / this.pinch, (a[0] + b[0]) / 2, (a[1] + b[1]) / 2);
      this.pinch = wide;
    }
    view.panBy((now[0] - before[0]) / this.down.size, (now[1] - before[1]) / this.down.size);
  }

  keys() {
    const { stage, editor } = this;
    // Undo, redo and save answer anywhere in the editor, the other keys on the picture alone: lists and fields have their own.
    editor.root.addEventListener("keydown", (event) => {
      if (!editor.ready || event.target.matches("input:not([type=range]):not([type=checkbox])")) return;
      const { said } = editor;
      const key = event.key.toLowerCase();
      const command = event.ctrlKey || event.metaKey;
      const act = command && { z: event.shiftKey ? "redo" : "undo", y: "redo", s: "save" }[key];
      if (act) editor[act]();
      else if (command || (event.altKey && !(key === "enter" && editor.tools.tool === "click")) || event.target !== stage || !this.key(event, key)) return;
      event.preventDefault();
      editor.active(said);
      editor.screen.draw("part");
    });
    stage.addEventListener("keyup", (event) => event.key === " " && (this.space = false));
    stage.addEventListener("blur", () => {
      this.space = false;
      this.cross = null;
      if (this.penDown) editor.tools.up();
      this.penDown = false;
      editor.screen.draw("part");
    });
  }

  // Whether the key means something here.
  key(event, key) {
    const { editor } = this;
    const { tools, view } = editor;
    if (/^\d$/.test(key)) return editor.pickIndex(Number(key)), true;
    if (TOOL_KEYS[key]) return editor.use(TOOL_KEYS[key]), true;
    const way = { arrowleft: [-1, 0], arrowright: [1, 0], arrowup: [0, -1], arrowdown: [0, 1] }[key];
    if (way) return this.walk(way, event.shiftKey), true;
    const act = {
      n: () => tools.create(), "[": () => editor.resize(1 / 1.25), "]": () => editor.resize(1.25), "+": () => view.zoomBy(1.3),
      "=": () => view.zoomBy(1.3), "-": () => view.zoomBy(1 / 1.3), f: () => view.fit(), " ": () => (this.space = true), delete: () => editor.removeSelected(),
      backspace: () => (tools.tool === "click" ? editor.clicks.back() : tools.corners.pop()), enter: () => this.enter(event.altKey),
      escape: () => { tools.cancel(); this.penDown = false; editor.clicks.drop(); },
    }[key];
    if (act) act();
    return Boolean(act);
  }

  // The cross: where the tools work without a mouse. It takes the view with it.
  walk([dx, dy], fine) {
    const { view, tools, layer } = this.editor;
    const step = fine ? 1 : Math.max(1, Math.round(10 / view.scale));
    const centre = this.image([this.stage.clientWidth / 2, this.stage.clientHeight / 2]);
    const [x, y] = this.cross || middleOf(this.hover ? this.image(this.hover) : centre);
    const limit = (value, most) => Math.min(most - 0.5, Math.max(0.5, value));
    this.cross = [limit(x + dx * step, layer.width), limit(y + dy * step, layer.height)];
    this.walked = true;
    this.hover = null;
    const [sx, sy] = [view.x + this.cross[0] * view.scale, view.y + this.cross[1] * view.scale];
    const over = (at, size) => (at < 20 ? 20 - at : at > size - 20 ? size - 20 - at : 0);
    view.panBy(over(sx, this.stage.clientWidth), over(sy, this.stage.clientHeight));
    if (this.penDown) tools.move(this.cross);
  }

  enter(negative) {
    const { tools, clicks } = this.editor;
    // At the cross a click, and once more there what has been clicked is taken.
    if (tools.tool === "click" && (this.cross ? clicks.pending && !this.walked : clicks.pending)) return clicks.take();
    if (tools.tool === "polygon" && tools.corners.length > 2 && !this.cross) return tools.close();
    if (!this.cross) return this.walk([0, 0], true);
    this.walked = false;
    if (tools.tool === "click") return clicks.click(this.cross, negative || !clicks.adding ? 0 : 1);
    if (this.penDown) {
      tools.up();
      this.penDown = false;
    } else {
      tools.down(this.cross);
      this.penDown = Boolean(tools.stroke); // none while what the tool needs is still computed
    }
  }
}

// All positions since the last frame: a fast stroke stays round.
function steps(event) {
  const all = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
  return all.length ? all : [event];
}
