// A file that the browser itself cannot show, TIFF above all, would leave a broken picture in the image box.
{
  const words = (navigator.language || "en").toLowerCase().startsWith("zh") ? "浏览器无法预览此文件" : "No preview of this kind of file";
  const note = (event) => {
    const frame = event.target.tagName === "IMG" && event.target.closest(".image-frame");
    if (!frame) return;
    if (event.type === "error") frame.dataset.unshown = words;
    else delete frame.dataset.unshown;
  };
  for (const type of ["error", "load"]) document.addEventListener(type, note, true);
}
// Pictures to click and links that scripts click have no words of their own.
{
  const said = (url) => decodeURIComponent(url.split(/[/\\]/).pop().split(/[?#]/)[0]).replace(/\.\w+$/, "").replace(/[-_]+/g, " ");
  const name = () => {
    for (const button of document.querySelectorAll(".gallery-item:not([aria-label])")) {
      const picture = button.querySelector("img");
      if (picture && picture.src) button.setAttribute("aria-label", said(picture.src));
    }
    for (const link of document.querySelectorAll(".download-link:not([aria-hidden])")) {
      link.setAttribute("aria-hidden", "true");
      link.tabIndex = -1;
    }
  };
  new MutationObserver(name).observe(document.documentElement, { childList: true, subtree: true });
}
// Browsers that cannot show HEIC do not know what it is either, and gradio's boxes refuse what has no type.
{
  const known = Object.getOwnPropertyDescriptor(Blob.prototype, "type").get;
  Object.defineProperty(File.prototype, "type", {
    configurable: true,
    get() {
      return known.call(this) || (/\.(hei[cf]|hif)$/i.test(this.name) ? "image/heic" : "");
    },
  });
}
