// What is drawn, kept in the browser (IndexedDB): the mask as it was opened, then every change as it is made. A page that is
// reloaded, or whose server died, goes on where it was, undo included. Stores: `documents` (as opened), `heads` (how far the
// changes are in effect; small, written with every change), `changes`, `originals` (the file that the person sent).

const KEPT_DRAFTS = 3;

class Drafts {
  // `name` of the database: each of the page's editors has its own.
  constructor(name) {
    this.database = new Promise((resolve, reject) => {
      const asked = indexedDB.open(name, 1);
      asked.onupgradeneeded = () => {
        for (const name of ["documents", "heads", "originals"]) asked.result.createObjectStore(name, { keyPath: "doc" });
        asked.result.createObjectStore("changes", { keyPath: ["doc", "index"] });
      };
      asked.onsuccess = () => resolve(asked.result);
      asked.onerror = () => reject(asked.error);
    });
    this.database.catch(() => {}); // each use reports it
  }

  // One transaction over some stores; resolves when it is on the disk, with what `work(store of a name)` asked for.
  async run(names, mode, work) {
    const database = await this.database;
    return new Promise((resolve, reject) => {
      const transaction = database.transaction(names, mode, { durability: "strict" });
      const asked = work((name) => transaction.objectStore(name));
      transaction.oncomplete = () => resolve(asked && asked.result);
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
    });
  }

  all(name, range) {
    return this.run([name], "readonly", (store) => store(name).getAll(range));
  }

  changesOf(doc) {
    return IDBKeyRange.bound([doc, 0], [doc, Infinity]);
  }

  async begin(record, head) {
    const heads = (await this.all("heads")).sort((left, right) => right.time - left.time);
    // Not what another tab draws on.
    for (const old of heads.slice(KEPT_DRAFTS - 1)) if (await claim(old.doc)) await this.drop(old.doc);
    await this.run(["documents", "heads"], "readwrite", (store) => {
      store("documents").put(record);
      store("heads").put(head);
    });
  }

  keepOriginal(doc, blob) {
    return this.run(["originals"], "readwrite", (store) => void store("originals").put({ doc, blob }));
  }

  // A change at its index, in place of what had been undone; or only a head, after undo and redo.
  write(head, index, change) {
    return this.run(["changes", "heads"], "readwrite", (store) => {
      if (change) {
        store("changes").delete(IDBKeyRange.bound([head.doc, index], [head.doc, Infinity]));
        store("changes").put({ doc: head.doc, index, change });
      }
      store("heads").put(head);
    });
  }

  drop(doc) {
    return this.run(["documents", "heads", "changes", "originals"], "readwrite", (store) => {
      for (const name of ["documents", "heads", "originals"]) store(name).delete(doc);
      store("changes").delete(this.changesOf(doc));
    });
  }

  // The newest draft that no other tab is drawing on: { record, head, changes, original }, or null.
  async latest() {
    const heads = (await this.all("heads")).sort((left, right) => right.time - left.time);
    for (const head of heads) {
      if (!(await claim(head.doc))) continue;
      const [record] = await this.all("documents", head.doc);
      if (!record) continue;
      const changes = (await this.all("changes", this.changesOf(head.doc))).map((row) => row.change);
      const [original] = await this.all("originals", head.doc);
      return { record, head, changes, original: original ? original.blob : null };
    }
    return null;
  }
}

// Holds a document for this tab as long as it is open; false if another tab has it. Without locks (plain http to another
// machine) nothing is known of other tabs, and it is this tab's.
function claim(doc) {
  if (!navigator.locks) return Promise.resolve(true);
  return new Promise((resolve) => {
    navigator.locks.request("seg-demo-draft-" + doc, { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      return lock && new Promise(() => {});
    }).catch(() => resolve(true));
  });
}
