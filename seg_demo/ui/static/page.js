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
