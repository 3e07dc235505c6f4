// Superpixels for the region tool: computed by the server when they are first needed, kept for each of the sizes.

class Regions {
  // `ask(blob, count)` resolves to a base64 PNG, id = R + 256 * G; `tell` and `ready` hear how it goes.
  constructor(ask, tell, ready) {
    Object.assign(this, { ask, tell, ready, maps: new Map(), work: null });
  }

  // The regions of a picture, or null while they are computed.
  of(work, count) {
    if (this.work !== work) {
      this.maps.clear();
      this.work = work;
    }
    const found = this.maps.get(count);
    if (found === undefined) this.load(work, count);
    return found || null;
  }

  async load(work, count) {
    this.maps.set(count, null);
    this.tell(say("computing"));
    try {
      const map = await loadIds("data:image/png;base64," + (await this.ask(work.image, count)));
      if (map.width !== work.layer.width || map.height !== work.layer.height) throw new Error("regions of another size");
      if (this.work !== work) return;
      this.maps.set(count, { ...map, boxes: boxesOf(map) });
      this.tell("");
      this.ready();
    } catch (error) {
      console.error(error);
      if (this.work === work) this.maps.delete(count);
      this.tell(say("noRegions"));
    }
  }
}
