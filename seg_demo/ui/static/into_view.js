() => {
  // On a phone the editor is below the controls. It grows, and the controls shrink, once the image is in it: that is waited for, a
  // while, because nothing comes where the image could not be opened.
  const editor = document.querySelector('#correct-editor'), behavior = matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth';
  const place = () => { const box = editor.getBoundingClientRect(); return box.top + scrollY + ' ' + box.height; };
  const until = performance.now() + 3000;
  const beside = editor.getBoundingClientRect().top < document.querySelector('#correct-open').getBoundingClientRect().top;
  let before = null, still = 0;
  const look = () => {
    const now = place();
    still = now === before && editor.querySelector('.se').dataset.state === 'open' ? still + 1 : 0;
    before = now;
    if (still <= 2 && !beside && performance.now() < until) return requestAnimationFrame(look);
    editor.scrollIntoView({ block: 'nearest', behavior });
    follow();
  };
  // The fields above go when the server answers, which may be later: until the person does something, the editor stays in view.
  let touched = beside;
  for (const act of ['wheel', 'pointerdown', 'touchstart', 'keydown']) addEventListener(act, () => { touched = true; }, { once: true, passive: true });
  const follow = () => {
    if (touched || performance.now() > until + 3000) return;
    const now = place();
    if (now !== before) editor.scrollIntoView({ block: 'nearest', behavior });
    before = now;
    requestAnimationFrame(follow);
  };
  look();
}
