for (const place of document.querySelectorAll("[data-app]")) {
  const name = place.dataset.app;
  apps[name](place, JSON.parse(document.getElementById(`data-${name}`).textContent));
}
