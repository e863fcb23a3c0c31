// Wakes each piece of this page that is not alive yet. No ids: any number of pieces stand on one page.
for (const root of document.querySelectorAll('.gan-frames:not([data-live])')) {
  root.dataset.live = '1';
  const find = what => root.querySelector(what);
  const img = find('img'), slider = find('input'), button = find('button'), said = find('output');
  const frames = JSON.parse(root.dataset.frames), captions = JSON.parse(root.dataset.captions), n = frames.length;
  const cursors = JSON.parse(root.dataset.cursors || '[]'), lines = [...root.querySelectorAll('.gan-cursor')];
  let timer = 0;
  frames[+slider.value] = img.src;
  for (const frame of frames) (new Image()).src = frame;

  const show = i => {
    img.src = frames[i];
    img.alt = said.textContent = captions[i];
    slider.value = i;
    slider.setAttribute('aria-valuetext', captions[i]);
    lines.forEach((line, k) => {
      line.setAttribute('x1', cursors[i][k]);
      line.setAttribute('x2', cursors[i][k]);
    });
  };
  const next = () => root.isConnected ? show((+slider.value + 1) % n) : play(false);
  const play = on => {
    clearInterval(timer);
    timer = on ? setInterval(next, +root.dataset.ms) : 0;
    button.textContent = on ? 'Pause' : 'Play';
    button.setAttribute('aria-pressed', on);
  };

  button.onclick = () => play(!timer);
  slider.oninput = () => { play(false); show(+slider.value); };
  img.onclick = () => slider.focus();
  root.onkeydown = event => {
    const step = {ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1}[event.key];
    if (event.key === ' ' && event.target !== button) {
      event.preventDefault();
      play(!timer);
    } else if (step) {
      event.preventDefault();
      play(false);
      show((+slider.value + step + n) % n);
    }
  };
  find('.gan-controls').hidden = false;
}
