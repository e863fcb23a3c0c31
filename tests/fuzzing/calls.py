"""A valid call of each public function, class and method: its arguments by name."""
import contextlib
import io
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.data import TensorDataset

from gan_course import dcgan, fid, gradcam, labels, latent, losses, runfiles, runs, sagan, scenes, toy, toybirds

from .things import Things, noise, pixels

NET = dict(img_size=32, img_channels=3, latent_dim=4, base_channels=8)
HEAD = NET | dict(head="fc")


def logits(t: Things) -> dict: return dict(real_logits=t.logits, fake_logits=t.logits - 1)
def of_g(t: Things) -> dict: return dict(fake_logits=t.logits, real_logits=t.logits + 1)
def maps(t: Things) -> dict: return dict(A=noise(2, 3, 4, 4).relu(), g=noise(2, 3, 4, 4, seed=1))
def plane(t: Things) -> dict: return dict(zip("abc", noise(3, 4), strict=True))
def two_ends(t: Things) -> dict: return dict(a=t.z, b=-t.z + 1, t=.3)
def judged(t: Things) -> dict: return dict(images=pixels(2, 3, 32, 32))
def in_scene(t: Things) -> dict: return dict(self=t.scene, state=t.state)
def quiet(t: Things) -> dict: return dict(progress=False)
def features(t: Things) -> dict: return dict(real_features=t.features, fake_features=t.other_features)


def step(t: Things) -> dict:
    return dict(D=t.D, fake=t.floats, loss=t.loss, real=t.floats.flip(0), view=lambda x: x)


def training(t: Things) -> dict:
    from .things import settings
    given = settings.TrainConfig(**settings_of())
    return dict(config=given, out=t.fresh("new"), progress=False, on_epoch_end=[lambda training, row: {}])


def with_gradient(t: Things) -> dict:
    at = noise(4, 3).requires_grad_()
    return dict(score=at.square().sum(1), at=at)


def grid(t: Things) -> tuple[int, int]:
    return runfiles.grid_size(*(t.run.info["samples"][k] for k in ("n", "size", "cols", "padding")))


def settings_of() -> dict:
    from .things import SMALL
    return dict(SMALL)


def whole_training(t: Things) -> dict:
    a = t.training
    names = ("config", "run", "images", "test_images", "accelerator", "G", "D", "ema", "opt_g", "opt_d", "latents",
             "labels", "history", "epoch")
    return {name: getattr(a, name) for name in names}


CORE: dict[str, Callable[[Things], dict]] = {
    "core.choose": lambda t: dict(name="bce", options=["bce", "hinge"], what="loss"),
    "core.as_bytes": lambda t: dict(images=t.x, part=False),
    "core.progress_bar": lambda t: dict(items=range(3), what="counting", show=True, how={}),
    "guards.warn": lambda t: dict(message="mind this"),
    "core.to_float": lambda t: dict(images=t.x),
    "core.to_uint8": lambda t: dict(x=t.floats),
    "core.seeded": lambda t: dict(seed=(1, 2)),
    "core.ImageSet": lambda t: dict(images=t.x, labels=torch.tensor([0, 1, 1, 0]), classes=["a", "b"],
                                    masks=t.x[:, 0] > 9, boxes=torch.ones(4, 4), name="mine", split="train",
                                    skipped=["x"]),
    "core.ImageSet.of": lambda t: dict(images=t.x, name="mine"),
    "core.ImageSet.subset": lambda t: dict(self=t.birds, index=torch.tensor([0, 2])),
    "core.ImageSet.sample": lambda t: dict(self=t.birds, n=3),
    "core.image_grid": lambda t: dict(images=t.x, cols=2, padding=1, fill=0),
    "core.cut_grid": lambda t: dict(grid=pixels(3, 67, 67), n=4, size=32, cols=2, padding=1),
    "core.new_figure": lambda t: dict(width=2., height=2., rows=1, cols=2, options=dict(squeeze=False)),
    "core.show_images": lambda t: dict(images=t.x, cols=2, title="four", scale=1, padding=1),
    "guards.guard": lambda t: dict(module="gan_course.core", known={}),
    "session.undisturbed": lambda t: dict(grad=True),
    "session.draw_labels": lambda t: dict(n=3, num_classes=4, seed=(1, 2)),
    "session.labels_in_order": lambda t: dict(n=9, num_classes=4),
    "session.draw_latents": lambda t: dict(n=3, shape=(4,), seed=(1, 2)),
}
GAME: dict[str, Callable[[Things], dict]] = {
    **{f"losses.{name}_d": logits for name in ("bce", "lsgan", "hinge", "wgan", "rpgan")},
    **{f"losses.{name}_g": of_g for name in ("minimax", "bce", "lsgan", "hinge", "wgan", "rpgan")},
    "losses.Loss": lambda t: dict(name="mine", d=losses.bce_d, g=losses.bce_g, paired=False, gp=1., threshold=.5),
    "losses.plot_losses": lambda t: dict(losses=(t.loss,), span=2.),
    "losses.gradient_penalty": lambda t: dict(D=t.D, real=t.floats, fake=t.floats.flip(0), generator=t.chance),
    "losses.r1_penalty": lambda t: dict(D=t.D, real=t.floats),
    "losses.r2_penalty": lambda t: dict(D=t.D, fake=t.floats),
    "losses.get_loss": lambda t: dict(name="hinge"),
    "toy.toy_modes": lambda t: dict(name="ring"),
    "toy.sample_toy": lambda t: dict(name="spiral", n=5, generator=t.chance),
    "toy.mlp": lambda t: dict(inputs=2, outputs=1, hidden=4, generator=t.chance),
    "toy.ToyGenerator": lambda t: dict(latent_dim=2, hidden=4, generator=t.chance),
    "toy.ToyDiscriminator": lambda t: dict(hidden=4, generator=t.chance),
    "toy.pulls": lambda t: dict(D=t.critic, fake=noise(5, 2), loss=t.loss, real=noise(5, 2)),
    "toy.coverage": lambda t: dict(x=noise(9, 2), modes=toy.toy_modes("ring"), sigma=.1, k=2., least=.2),
    "toy.ToyConfig": lambda t: dict(data="ring", loss="bce", steps=2, d_steps=1, g_steps=1, batch_size=4, lr_g=1e-3,
                                    lr_d=1e-3, beta1=.5, r1=.1, hidden=4, latent_dim=2, seed=0),
    "toy.snapshot": lambda t: dict(config=toy.ToyConfig(), G=toy.ToyGenerator(2, 4, t.chance), D=t.critic, step=0,
                                   n=8, side=3),
    "toy.play": lambda t: dict(config=toy.ToyConfig(steps=2, batch_size=4, hidden=4), every=1, n=8),
    "toy.plot_game": lambda t: dict(snapshots=t.game, arrows=3, scale=.1),
    "toy.plot_chart": lambda t: dict(games=(t.game,), names=["one"]),
    "steps.d_step": lambda t: step(t) | dict(opt_d=t.adam(t.D), penalty=lambda a, b: a.mean()),
    "steps.g_step": lambda t: step(t) | dict(opt_g=t.adam(t.G), fake=t.G(t.z)),
    "steps.frozen": lambda t: dict(D=t.D),
    "steps.ema_update": lambda t: dict(ema=t.G, G=dcgan.Generator(32, 3, 4, 2), decay=.9),
    "steps.ema_decay": lambda t: dict(decay=.9, n=3),
    "steps.generate": lambda t: dict(G=t.G, z=t.z, batch_size=2),
    "steps.epoch_batches": lambda t: dict(n=9, batch_size=2, generator=t.chance),
    "steps.real_batch": lambda t: dict(images=t.x, indices=torch.tensor([0, 3]), generator=t.chance, flip=True,
                                       device="cpu", share=slice(1)),
    "steps.accuracy_on_real": lambda t: dict(D=t.D, real=t.floats, threshold=.5),
    "steps.plot_curves": lambda t: dict(run=t.run),
    "steps.evenly": lambda t: dict(items=[1, 2, 3], n=2),
    "steps.plot_film_strip": lambda t: dict(run=t.run, n=2, epochs=[0, 1]),
    "steps.plot_real_beside_fake": lambda t: dict(real=t.x, fake=t.x, n=2),
    "steps.plot_grids": lambda t: dict(run=t.run, epochs=[0, 1], n=4),
}
DATA: dict[str, Callable[[Things], dict]] = {
    "data.read_cifar10": lambda t: dict(folder=t.folder, split="test"),
    "data.load_cifar10": lambda t: dict(split="test", root=t.place, download=False),
    "data.load_fashion_mnist": lambda t: dict(split="test", root=t.place, download=False),
    "data.at_size": lambda t: dict(images=t.birds, size=16, root=t.place),
    "data.bird_square": lambda t: dict(box=[1., 2., 5., 4.], width=20, height=10, margin=.1),
    "data.move_box": lambda t: dict(box=[1., 2., 5., 4.], left=0., top=1., side=8., size=16),
    "data.cub_folder": lambda t: dict(root=t.cub.parent, download=False),
    "data.cub_items": lambda t: dict(folder=t.cub, split="train"),
    "data.load_cub200": lambda t: dict(split="train", size=16, root=t.cub.parent, crop="box", margin=.1, limit=1,
                                       progress=False, download=False),
    "data.is_folder": lambda t: dict(name_or_path=t.folder),
    "data.has_split": lambda t: dict(name_or_path=t.folder, split="test"),
    "data.load_images": lambda t: dict(name_or_path=str(t.folder), split="train", size=16, root=t.place,
                                       limit=5, progress=False, download=False, fit="pad", channels=3),
    "data.augment": lambda t: dict(x=t.floats, u=torch.rand(4, 7, generator=t.chance), policy="color,cutout"),
    "imagefiles.open_picture": lambda t: dict(file=t.files[0]),
    "imagefiles.drawn": lambda t: dict(total=9, limit=4, seed=1),
    "imagefiles.eight_bits": lambda t: dict(image=t.image.convert("I")),
    "imagefiles.read_rgb": lambda t: dict(file=str(t.files[0]), upright=True, enough=8),
    "imagefiles.centre_square": lambda t: dict(width=12., height=10.),
    "imagefiles.cut_square": lambda t: dict(image=t.image, left=-1., top=0., side=8., size=16),
    "imagefiles.fitted": lambda t: dict(image=t.image, size=16, fit="pad"),
    "imagefiles.decoded": lambda t: dict(read=lambda f: (pixels(3, 4, 4).numpy(), None), folder=t.folder,
                                         files=t.files, name="mine", progress=False),
    "imagefiles.warn_skipped": lambda t: dict(folder=t.folder, skipped={"a.png": "is broken"}, total=3),
    "data.options_of": lambda t: dict(name_or_path=t.folder),
    "imagefiles.is_run": lambda t: dict(place=t.folder),
    "imagefiles.survey": lambda t: dict(folder=t.folder, without=["a"]),
    "imagefiles.list_images": lambda t: dict(folder=t.folder, without=["a"]),
    "imagefiles.split_parts": lambda t: dict(folder=t.folder),
    "imagefiles.split_folder": lambda t: dict(folder=t.folder, split="train"),
    "imagefiles.folder_of_images": lambda t: dict(folder=t.folder),
    "imagefiles.files_of_split": lambda t: dict(folder=t.folder, split="train"),
    "imagefiles.readable_now": lambda t: dict(read=lambda f: (f, None), folder=t.folder, skipped={"a.png": "broken"}),
    "imagefiles.in_grey": lambda t: dict(images=t.x),
    "imagefiles.say_lost": lambda t: dict(folder=t.folder, lost=.4, fit="crop"),
    "imagefiles.load_folder": lambda t: dict(folder=t.folder, split="train", size=16, root=t.place, limit=5,
                                             progress=False, fit="crop", channels=1),
    "imagefiles.check_counts": lambda t: dict(labels=torch.tensor([0, 1]), classes=2, each=1, what="mine"),
    "imagefiles.fetching": lambda t: dict(what="mine", root=t.place, megabytes=3, otherwise="copy it", download=True),
    "imagefiles.read_table": lambda t: dict(file=t.table, kind=str),
    "storage.atomic_write": lambda t: dict(path=t.fresh("new.txt")),
    "storage.writing": lambda t: dict(path=t.fresh("new.txt")),
    "storage.write_json": lambda t: dict(path=t.fresh("new.json"), content={"a": 1}),
    "storage.read_tensors": lambda t: dict(path=t.tensors, prefix=""),
    "storage.epoch_in": lambda t: dict(file=t.run_folder/"checkpoints"/"last.safetensors", unknown=None),
    "storage.check_inside": lambda t: dict(path=t.run_folder),
    "storage.data_root": lambda t: dict(root=t.place),
    "storage.cache_key": lambda t: dict(what=dict(size=3)),
    "storage.write_rows": lambda t: dict(file=io.BytesIO(), rows=[t.x.numpy()]),
    "storage.open_rows": lambda t: dict(file=t.rows, map_above=1.),
    "storage.cached": lambda t: dict(name="mine", key="0" * 16, produce=lambda: ([t.x.numpy()], {}), root=t.place,
                                     of="", again=lambda facts: False),
    "storage.cached_file": lambda t: dict(name="mine", key="0" * 16, load=lambda file: 3, produce=lambda: 3,
                                          save=lambda kept, file: None, root=t.place, of="1" * 16),
    "storage.open_regular": lambda t: dict(file=t.table),
    "storage.stamps": lambda t: dict(folder=t.folder, files=[f.relative_to(t.folder).as_posix() for f in t.files]),
    "storage.half_weights": lambda t: dict(weights=t.G.state_dict()),
    "storage.float_weights": lambda t: dict(weights=t.G.state_dict()),
    "toybirds.capsule": lambda t: dict(u=noise(2, 4, 4), v=noise(2, 4, 4), part=noise(2, 6)),
    "toybirds.pixel_grid": lambda t: dict(size=8),
    "toybirds.toy_scene": lambda t: dict(n=2, generator=t.chance, obey=.5),
    "toybirds.draw_surroundings": lambda t: dict(scene=t.bird_scene, size=8),
    "toybirds.bird_axes": lambda t: dict(scene=t.bird_scene, size=8),
    "toybirds.bird_paint": lambda t: dict(scene=t.bird_scene),
    "toybirds.draw_birds": lambda t: dict(scene=t.bird_scene, size=8),
    "toybirds.mask_boxes": lambda t: dict(masks=t.birds.masks),
    "toybirds.toy_birds": lambda t: dict(n=2, seed=3, size=32, obey=.5),
    "toybirds.degrade": lambda t: dict(x=t.floats, generator=t.chance, blur=.5),
    "toybirds.break_up": lambda t: dict(x=t.floats, generator=t.chance),
    "toybirds.ToyJudge": lambda t: {},
    "toybirds.train_judge": lambda t: dict(steps=1, n=400, seed=1),
    "toybirds.save_judge": lambda t: dict(net=toybirds.ToyJudge(), file=t.fresh("judge.safetensors")),
    "toybirds.toy_judge": lambda t: dict(device="cpu"),
    "toybirds.read_birds": lambda t: judged(t) | dict(net=toybirds.ToyJudge().eval()),
    **{f"toybirds.{name}": judged for name in ("species_of", "is_bird", "obeys_rule")},
}
NETWORKS: dict[str, Callable[[Things], dict]] = {
    "dcgan.Generator": lambda t: dict(NET),
    "dcgan.Discriminator": lambda t: dict(img_size=32, img_channels=3, base_channels=2, head="gap"),
    "dcgan.period2_share": lambda t: dict(images=t.floats),
    "dcgan.init_weights": lambda t: dict(model=t.G, generator=t.chance),
    "dcgan.dcgan": lambda t: dict(HEAD),
    "dcgan.register_model": lambda t: dict(name="mine", build=dcgan.dcgan, defaults=dict(loss="hinge")),
    "dcgan.build_model": lambda t: HEAD | dict(name="sagan", seed=1),
    "sagan.normalised": lambda t: dict(layer=nn.Linear(3, 4)),
    "sagan.receptive_field": lambda t: dict(network=nn.Conv2d(3, 2, 3), x=t.floats[:1], position=(3, 3)),
    "sagan.plot_fields": lambda t: dict(fields={"mine": noise(5, 5).relu()}),
    "sagan.SelfAttention2d": lambda t: dict(channels=8),
    "sagan.SNGenerator": lambda t: NET | dict(attention=16),
    "sagan.SNDiscriminator": lambda t: dict(img_size=32, img_channels=3, base_channels=8, attention=16),
    **{f"sagan.{name}": lambda t: dict(HEAD) for name in ("sngan", "dcgan_sn", "sngan_bn")},
    **{f"sagan.{name}": lambda t: HEAD | dict(attention=16) for name in ("sagan", "sagan_bn")},
    "dcgan.Discriminator.logit": lambda t: dict(self=t.D, h=t.D.features(t.floats).detach()),
    "sagan.SNDiscriminator.logit": lambda t: dict(self=t.pair[1], h=t.pair[1].features(t.floats).detach()),
    "labels.ConditionalBatchNorm2d": lambda t: dict(num_classes=3, channels=4),
    "labels.ConditionalGenerator": lambda t: dict(G=t.G, num_classes=3),
    "labels.ProjectionDiscriminator": lambda t: dict(D=t.D, num_classes=3, channels=8),
    "labels.conditional": lambda t: dict(G=t.G, D=t.D, num_classes=3),
    "labels.OneClass": lambda t: dict(G=labels.ConditionalGenerator(t.G, 3), label=2),
    "sagan.attention_maps": lambda t: dict(network=t.pair[0], x=t.z),
    "sagan.plot_attention": lambda t: dict(network=t.pair[1], x=t.floats[:2], positions=[(.5, .5)]),
    "networks.latent_dim_of": lambda t: dict(G=t.G),
    "networks.copy_network": lambda t: dict(network=t.G),
    "networks.check_networks": lambda t: dict(G=t.G, D=t.D, img_size=32, img_channels=3),
    "networks.name_of_networks": lambda t: dict(G=t.G, D=t.D),
    "networks.register_named": lambda t: dict(name="gan_course.sagan:sngan"),
    "networks.outline": lambda t: dict(model="dcgan", shape=dict(HEAD)),
    "networks.check_fits": lambda t: dict(file=t.run_folder/"checkpoints"/"last.safetensors", G=None, D=None),
    "networks.is_own": lambda t: dict(model="dcgan"),
    "networks.build_networks": lambda t: dict(model="dcgan", shape=dict(HEAD), seed=1, copies=2),
    "export.PlainAttention2d": lambda t: dict(channels=8),
    "export.plain_attention": lambda t: dict(block=sagan.SelfAttention2d(8)),
    "export.plain_layers": lambda t: dict(G=t.pair[0]),
    "export.code_of": lambda t: dict(layer=nn.BatchNorm2d(3)),
    "export.write_code": lambda t: dict(G=t.G, layers=nn.Sequential(nn.Flatten(), nn.ReLU()), file=t.fresh("g.py"),
                                        about="Mine."),
    "export.write_onnx": lambda t: dict(network=nn.Linear(4, 4), z=t.z, file=t.fresh("g.onnx")),
    "export.export_run": lambda t: dict(what=t.run_folder, out=t.fresh("exported"), weights="last", onnx=False),
}
RUNS: dict[str, Callable[[Things], dict]] = {
    "locks.locked": lambda t: dict(folder=t.folder),
    "locks.unused": lambda t: dict(folder=t.folder),
    "locks.take_folder": lambda t: dict(wanted=lambda: t.fresh("taken"), numbered=False, keep=contextlib.ExitStack()),
    "locks.check_sizes": lambda t: dict(folder=t.run_folder),
    "processes.world_size": lambda t: {},
    "processes.processes": lambda t: {},
    "processes.average_over_processes": lambda t: dict(tensors=[t.z], mean=lambda flat: flat),
    "processes.stop_all": lambda t: dict(error=None),
    "processes.on_main_process": lambda t: dict(work=lambda: 3, send=True),
    "processes.main_process_first": lambda t: dict(work=lambda: 3),
    "processes.share": lambda t: dict(batch_size=4),
    "processes.check_shares": lambda t: dict(batch_size=4),
    "processes.backward": lambda t: dict(accelerator=t.training.accelerator, network=t.G),
    "runfiles.as_folder": lambda t: dict(path=str(t.run_folder)),
    "runfiles.check_info": lambda t: dict(info=t.run.info),
    "runfiles.grid_size": lambda t: dict(n=4, size=32, cols=2, padding=2),
    "runfiles.read_config": lambda t: dict(folder=t.run_folder),
    "runs.refuse_nan": lambda t: dict(values=dict(g_loss=1.), when="epoch 3"),
    "runfiles.read_labels": lambda t: dict(file=labelled(t), n=4, num_classes=2),
    "runfiles.read_latents": lambda t: dict(file=t.run_folder/"latents.safetensors", shape=(4, 4)),
    "runfiles.read_pixels": lambda t: dict(file=runs.samples_file(t.run_folder, 1), wanted=grid(t), channels=3),
    "runfiles.read_rows": lambda t: dict(file=t.run_folder/"history.csv", columns=runs.COLUMNS, whole=("epoch",)),
    "diagnosis.Finding": lambda t: dict(name="collapse", sure="possible", seen="much", cure="--r1 0.1",
                                        settings=("r1",), lesson="02_toy"),
    "diagnosis.diagnose": lambda t: dict(history=[row | dict(epoch=i) for row in t.run.history for i in range(1, 5)],
                                         loss="bce"),
    "runs.samples_file": lambda t: dict(folder=t.run_folder, epoch=1),
    "runs.checkpoint_file": lambda t: dict(folder=t.run_folder, weights="last"),
    "runs.write_history": lambda t: dict(path=t.fresh("history.csv"), rows=t.run.history),
    "runs.read_history": lambda t: dict(path=t.run_folder/"history.csv"),
    "runs.Run": lambda t: dict(path=t.run_folder, G=None, D=None),
    "runs.Run.images": lambda t: dict(self=t.run, split="train", how=quiet(t)),
    "runs.Run.samples": lambda t: dict(self=t.run, epoch=1),
    "runs.Run.epoch_of": lambda t: dict(self=t.run, weights="last"),
    "runs.Run.generator": lambda t: dict(self=t.run, weights="last", ema=False),
    "runs.Run.discriminator": lambda t: dict(self=t.run, weights=1),
    "runs.write_samples": lambda t: dict(run=t.run, images=t.x, epoch=2),
    "runs.networks_of": lambda t: dict(run=t.run, need="G", seed=1, copies=1),
    "runs.open_run": lambda t: dict(what=t.run_folder, G=None, D=None),
    "runs.ready_folder": lambda t: {},
    "runs.ready_run": lambda t: dict(name="toy-birds-dcgan"),
    "runs.describe_run": lambda t: dict(config=t.config, images=t.birds, more=dict(fid={})),
    "runs.shape_of": lambda t: dict(config=t.config, images=t.birds),
    "runs.protocol_of": lambda t: dict(hooks=[lambda training, row: None]),
    "runs.new_place": lambda t: dict(config=t.config, out=t.fresh("new")),
    "runs.lay_out": lambda t: dict(run=t.run),
    "runs.write_config": lambda t: dict(run=t.run),
    "runs.check_again": lambda t: dict(run=t.run, protocol={"fid": {"every": 1}}, steps={"d_step": "mine"}),
    "runs.pack_run": lambda t: dict(run=t.run_folder, dest=t.fresh("packed"), epochs=[1]),
    "settings.data_options": lambda t: dict(config=t.config),
    "settings.fingerprint": lambda t: dict(images=t.x),
    "settings.TrainConfig": lambda t: settings_of() | dict(size=32, model="dcgan", loss="bce", lr_g=1e-4, seed=3),
    "settings.check_config": lambda t: dict(config=t.config),
    "settings.with_defaults": lambda t: dict(config=t.config, own=False),
    "settings.read_recipe": lambda t: dict(name="cifar10-sagan"),
    "settings.recipe": lambda t: dict(name="cifar10-sagan"),
    "settings.choose_precision": lambda t: dict(G=t.G, D=t.D, batch_size=2, device=torch.device("cpu")),
    "settings.as_image_set": lambda t: dict(images=t.x, split="train"),
    "settings.check_data": lambda t: dict(config=t.config, images=t.birds, test_images=t.birds),
    "settings.settle": lambda t: dict(config=t.config, images=t.x, G=t.G, D=t.D),
    "settings.unlike": lambda t: dict(config=t.config, wanted=t.config),
    "training.Training": whole_training,
    "training.run_epoch": lambda t: dict(t=t.training, bar=None),
    "training.train": training,
    "training.resume": lambda t: dict(path=t.run_folder, epochs=2, progress=False),
    "training.train_or_open": lambda t: dict(config=training(t)["config"], path=t.fresh("new"), how=quiet(t)),
}
MEASURES: dict[str, Callable[[Things], dict]] = {
    "features.resize_like_tensorflow": lambda t: dict(x=t.floats, size=20),
    "features.check_images": lambda t: dict(images=t.x, part=True),
    "features.to_channels": lambda t: dict(images=t.x, channels=1),
    "features.fold_batch_norm": lambda t: dict(block=nn.ModuleDict(dict(
        conv=nn.Conv2d(3, 4, 1, bias=False), bn=nn.BatchNorm2d(4))).requires_grad_(False)),
    "features.load_inception": lambda t: {},
    "features.Inception": lambda t: dict(device="cpu"),
    "features.SmallNet": lambda t: {},
    "features.SmallNet.features": lambda t: dict(self=__import__("gan_course").features.SmallNet(), x=t.floats),
    "features.train_small": lambda t: dict(steps=2, n=8, seed=1),
    "features.Small": lambda t: dict(device="cpu"),
    "features.get_extractor": lambda t: dict(name="small", device="cpu"),
    "features.extract_features": lambda t: dict(images=t.x, extractor="small", batch_size=2, progress=False),
    "fid.root_trace": lambda t: dict(cov1=t.cov, cov2=t.cov + torch.eye(5).double()),
    "fid.frechet_distance": lambda t: dict(mu1=t.given.mean, cov1=t.cov, mu2=t.given.mean + 1, cov2=t.cov),
    "fid.check_features": lambda t: dict(features=t.features, least=2),
    "fid.Moments": lambda t: {},
    "fid.Moments.update": lambda t: dict(self=fid.Moments(), features=t.features),
    "fid.Moments.merge": lambda t: dict(self=fid.Moments(), other=fid.Moments()),
    "fid.FeatureStats": lambda t: dict(extractor="small", keep=9),
    "fid.FeatureStats.merge": lambda t: dict(self=t.stats(), other=t.stats()),
    "fid.FeatureStats.save": lambda t: dict(self=t.stats(), path=t.fresh("s.safetensors")),
    "fid.FeatureStats.load": lambda t: dict(path=saved(t)),
    "fid.low_rank_root_trace": lambda t: dict(x=t.features, y=t.other_features),
    "fid.frechet_from_stats": lambda t: dict(a=t.stats(), b=t.stats(t.other_features)),
    "fid.warn_of_few": lambda t: dict(n=9, d=3),
    "fid.extrapolate": lambda t: dict(real=t.stats(), fake=t.other_features, points=3, generator=t.chance),
    "fid.kernel_mean": lambda t: dict(x=t.features, y=t.other_features, chunk=7),
    "fid.kid": lambda t: features(t) | dict(subsets=2, subset_size=10, generator=t.chance),
    "fid.kid_error": lambda t: features(t) | dict(blocks=4),
    "fid.distances": lambda t: dict(a=t.features, b=t.other_features),
    "fid.radii": lambda t: dict(x=t.features, k=2, chunk=7),
    "fid.prdc": lambda t: dict(real=t.features, fake=t.other_features, k=2, chunk=7),
    "sources.Source": lambda t: dict(name="mine", n=4, batches=lambda n: iter(t.x.split(n)), size="32×32",
                                     split="train", key=["a"], about={}, kind="source", stats=None),
    "sources.images_in": lambda t: dict(given=(t.x, None), name="mine"),
    "sources.one_line": lambda t: dict(error=ValueError("two\nlines")),
    "sources.checked": lambda t: dict(batches=[t.x], name="mine"),
    "sources.some_of": lambda t: dict(total=9, n=4),
    "sources.check_count": lambda t: dict(n=4),
    "sources.from_images": lambda t: dict(images=t.birds, n=4),
    "sources.from_tensor": lambda t: dict(images=t.x, n=3),
    "sources.from_folder": lambda t: dict(folder=t.folder, n=4),
    "sources.size_of": lambda t: dict(files=t.files),
    "sources.read_file": lambda t: dict(file=t.files[0]),
    "sources.same_size": lambda t: dict(images=list(t.x)),
    "sources.first_of": lambda t: dict(batches=[t.x], n=3, batch_size=2),
    "sources.in_stacks": lambda t: dict(images=list(t.x), most=3),
    "sources.from_batches": lambda t: dict(batches=[t.x], n=3, name="mine"),
    "sources.from_dataset": lambda t: dict(dataset=TensorDataset(t.x), n=3),
    "sources.from_generator": lambda t: dict(G=t.G, n=4, seed=1, name="mine", latent_dim=4),
    "sources.latent_shape": lambda t: dict(G=t.G, latent_dim=(4,)),
    "sources.images_of": lambda t: dict(G=t.G, z=t.z, name="mine"),
    "sources.fitting_latents": lambda t: dict(G=t.G, z=t.z, name="mine"),
    "sources.from_run": lambda t: dict(run=t.run, n=4, seed=1, weights="last"),
    "sources.GivenMoments": lambda t: dict(mean=t.given.mean, cov=t.given.cov, path="x.npz", extractor="inception"),
    "sources.GivenMoments.distance_to": lambda t: dict(self=t.given, stats=inception_stats(t)),
    "sources.read_moments": lambda t: dict(path=t.moments, most=100),
    "sources.from_stats": lambda t: dict(stats=t.stats(), n=None),
    "sources.source_of": lambda t: dict(what=t.G, n=4, seed=1, weights=None, latent_dim=4),
    "sources.opened": lambda t: dict(what=str(t.folder), split="train", how=quiet(t)),
    "sources.limited": lambda t: dict(source=t.source, n=4),
    "evaluation.gather": lambda t: dict(source=t.source, extractor="small", keep=9, batch_size=4, progress=False),
    "evaluation.real_stats": lambda t: dict(images=t.birds, extractor="small", n=9, keep=9, batch_size=4, root=t.place,
                                            progress=False),
    "evaluation.Evaluation": lambda t: dict(values=dict(fid=1.), protocol=dict(n_fake=3)),
    "evaluation.Evaluation.asdict": lambda t: dict(self=measured(t)),
    "evaluation.Evaluation.to_json": lambda t: dict(self=measured(t), path=t.fresh("e.json")),
    "evaluation.describe": lambda t: dict(values=measured(t).values, protocol=measured(t).protocol),
    "evaluation.compare": lambda t: dict(fake=t.stats(), real=t.stats(t.other_features), k=2),
    "evaluation.evaluate": lambda t: measuring(t),
    "evaluation.fid_hook": lambda t: dict(real=t.birds, every=1, n_fake=4, extractor="small", seed=1, n_real=9,
                                          batch_size=4, progress=False),
    "evaluation.history_table": lambda t: dict(run=t.run),
}
VIEWS: dict[str, Callable[[Things], dict]] = {
    "probing.own_score": lambda t: dict(target=torch.neg, output=t.logits, n=6),
    "probing.gradient_of": with_gradient,
    "probing.note": lambda t: dict(what="black", found=t.logits > 0, layer=t.D),
    "probing.images_to_explain": lambda t: dict(run=t.run, images=t.birds, limit=4),
    "probing.grey_input": lambda t: dict(model=t.D),
    "probing.has_extent": lambda t: dict(output=noise(2, 3, 4, 4), n=2),
    "probing.as_input": lambda t: dict(model=t.D, images=t.x),
    "probing.output_of": lambda t: dict(model=t.D, x=t.floats),
    "probing.one_logit": lambda t: dict(output=t.logits, n=6, target="fake"),
    "probing.is_saturated": lambda t: dict(score=t.logits.requires_grad_().sigmoid(), near=.01),
    "probing.explaining": lambda t: {},
    "gradcam.target_score": lambda t: dict(output=t.logits, target="real", n=6),
    "gradcam.at_rest": lambda t: dict(model=t.D),
    "gradcam.cam_layers": lambda t: dict(model=t.D, images=t.floats),
    "gradcam.layer_gradients": lambda t: dict(model=t.D, images=t.floats, layer="features.0", target="fake"),
    "gradcam.find_layer": lambda t: dict(model=t.D, layer="features.0", images=t.floats),
    "gradcam.gradcam_weights": lambda t: dict(g=maps(t)["g"]),
    "gradcam.weighted_sum": lambda t: dict(A=maps(t)["A"], weights=noise(2, 3)),
    "gradcam.to_heat": lambda t: dict(maps=noise(2, 4, 4), size=(8, 8)),
    "gradcam.plusplus_weights": lambda t: maps(t) | dict(eps=1e-6),
    "gradcam.Cams": lambda t: {k: getattr(t.cams, k) for k in ("gradcam", "plusplus", "score", "lost")},
    "gradcam.cams": lambda t: dict(model=t.D, images=t.x, layer="features.0", target="real", eps=0., batch_size=2),
    "gradcam.cam": lambda t: dict(model=t.D, images=t.x, layer="features.0", target="real", method="gradcam++", eps=0.,
                                  batch_size=2),
    "gradcam.heat_colours": lambda t: dict(maps=noise(2, 8, 8).sigmoid(), cmap="turbo"),
    "gradcam.overlay": lambda t: dict(images=t.x, maps=noise(4, 32, 32).sigmoid(), alpha=.3, cmap="turbo"),
    "gradcam.plot_cam_table": lambda t: dict(images=t.x, heat={"one": t.cams}, captions=list("abcd"), cell=32),
    "gradcam.box_masks": lambda t: dict(boxes=noise(2, 4).abs(), size=(8, 8)),
    "gradcam.bootstrap_interval": lambda t: dict(values=t.logits, draws=20, level=.9, generator=t.chance),
    "gradcam.HeatShare": lambda t: share_of_heat(t),
    "gradcam.HeatShare.mean": lambda t: dict(self=gradcam.HeatShare(**share_of_heat(t))),
    "gradcam.heat_share": lambda t: dict(maps=noise(2, 8, 8).sigmoid(), masks_or_boxes=noise(2, 8, 8) > 0),
    "gradcam.Explanation": lambda t: dict(data=t.birds, target="fake", layers={"features.0": (2, 16, 16)},
                                          heat={"features.0": t.cams}),
    "gradcam.Explanation.rows": lambda t: dict(self=explained(t)),
    "gradcam.Explanation.figure": lambda t: dict(self=explained(t), n=2),
    "gradcam.explain": lambda t: dict(run=t.run_folder, images=t.birds, layers=["features.0"], target="real", limit=4,
                                      weights="last", batch_size=2),
    "latent.lerp": two_ends,
    "latent.slerp": two_ends,
    "latent.walk": lambda t: dict(points=t.z, steps=2, path=latent.lerp, closed=True),
    "latent.on_plane": lambda t: plane(t) | dict(x=.2, y=noise(3, 1), shell=True),
    "latent.latent_grid": lambda t: plane(t) | dict(rows=2, cols=3, shell=True),
    "latent.truncate": lambda t: dict(z=t.z, limit=1.),
    "latent.Nearest": lambda t: {k: getattr(t.nearest, k) for k in ("index", "distance", "mirrored")},
    "latent.Nearest.images": lambda t: dict(self=t.nearest, real=t.birds.images),
    "latent.RealIndex": lambda t: dict(real=t.x, extractor="small"),
    "latent.nearest_real": lambda t: dict(images=t.x, real=t.birds.images, k=2, extractor="small"),
    "scenes.to_pil": lambda t: dict(image=t.x[0]),
    "scenes.png": lambda t: dict(image=t.x[0], scale=2),
    "scenes.LatentState": lambda t: dict(start=0, end=1, t=.5, path="lerp", limit=2., spot=(.5, .5), seed=1),
    "scenes.LatentScene": lambda t: dict(what=t.run_folder, n=2),
    **{f"scenes.LatentScene.{name}": in_scene for name in ("candidates", "ends", "latent", "image", "render")},
    "scenes.sheet": lambda t: dict(images=t.x, cols=2, padding=1),
    "scenes.LatentScene.images": lambda t: dict(self=in_scene(t)["self"], z=noise(2, in_scene(t)["self"].latent_dim)),
    "scenes.EpochScene.recording": lambda t: dict(self=epochs(t), i=0),
    "scenes.LatentScene.row": lambda t: in_scene(t) | dict(which=0),
    "scenes.LatentScene.pad": lambda t: in_scene(t) | dict(side=2),
    "scenes.LatentScene.film": lambda t: in_scene(t) | dict(steps=2),
    "scenes.free_name": lambda t: dict(folder=t.place, stem="walk", suffix=".gif"),
    "scenes.save_gif": lambda t: dict(images=t.x, path=t.fresh("a.gif"), scale=2, ms=50),
    "scenes.CurvePlot": lambda t: dict(run=t.run),
    "scenes.CurvePlot.render": lambda t: dict(self=recorded(t).plot(), epoch=1.),
    "scenes.CurvePlot.epoch_at": lambda t: dict(self=recorded(t).plot(), x=.5),
    "scenes.Recording": lambda t: dict(run=t.run),
    "scenes.Recording.refresh": lambda t: dict(self=recorded(t)),
    "scenes.Recording.shown": lambda t: dict(self=recorded(t), epoch=1),
    "scenes.Recording.images": lambda t: dict(self=recorded(t), epoch=1),
    "scenes.Recording.plot": lambda t: dict(self=recorded(t)),
    "scenes.EpochScene": lambda t: dict(run=t.run, other_run=t.run_folder),
    "scenes.EpochScene.refresh": lambda t: dict(self=epochs(t)),
    "scenes.EpochScene.shown": lambda t: dict(self=epochs(t), i=0, epoch=1),
    "scenes.Recording.members": lambda t: dict(self=epochs(t).recordings[0], label=None),
    "scenes.shown_classes": lambda t: dict(scene=of_classes(t)),
    "scenes.every_class": lambda t: dict(scene=of_classes(t), state=scenes.LatentState()),
    "scenes.EpochScene.grid": lambda t: dict(self=epochs(t), i=0, epoch=1),
    "scenes.EpochScene.strip": lambda t: dict(self=epochs(t), i=0, latent=1),
    "scenes.EpochScene.curves": lambda t: dict(self=epochs(t), i=0, epoch=1),
    "scenes.EpochScene.epoch_at": lambda t: dict(self=epochs(t), i=0, x=.5),
    "embed.epoch_browser_html": lambda t: dict(run=t.run_folder, n=2, epochs=[0, 1]),
    "embed.frames_html": lambda t: dict(frames=list(t.x), captions=list("abcd"), label="frame", first=1, ms=100,
                                        width=200, below="", cursors=[[.5]] * 4, most=1_000_000),
    "embed.latent_walk_html": lambda t: dict(run_or_generator=t.G, n=2, points=2, steps=2, seed=1, path=latent.lerp),
    "widgets.EpochBrowser": lambda t: dict(run=t.run, other_run=None, every=2.),
    "widgets.EpochBrowser.go": lambda t: dict(self=t.browser, epoch=1),
    "widgets.EpochBrowser.refresh": lambda t: dict(self=t.browser, always_say=True),
    "widgets.LatentExplorer": lambda t: dict(run_or_generator=t.G, real=t.x, folder=t.place),
    "widgets.Picture": lambda t: dict(kwargs=dict(label="mine", width=30)),
    "widgets.Track": lambda t: dict(kwargs=dict(label="mine", texts=["a", "b"], value=1)),
}


def recorded(t: Things):
    from gan_course.scenes import Recording
    return Recording(t.run)


def of_classes(t: Things):
    return scenes.LatentScene(labels.ConditionalGenerator(t.G, 3), 2)


def labelled(t: Things):
    from safetensors.torch import save_file
    save_file({"labels": torch.tensor([0, 0, 1, 1])}, file := t.fresh("latents.safetensors"))
    return file


def epochs(t: Things):
    from gan_course.scenes import EpochScene
    return EpochScene(t.run)


def saved(t: Things):
    t.stats().save(t.fresh("stats.safetensors"))
    return t.fresh("stats.safetensors")


def inception_stats(t: Things):
    stats = fid.FeatureStats("inception", 100)
    stats.update(t.features)
    return stats


def measuring(t: Things) -> dict:
    return dict(fake=t.G, real=t.birds, n_fake=8, n_real=9, extractor="small", seed=1, batch_size=4, weights=None,
                progress=False, k=2, keep=9, split="train", latent_dim=4)


def measured(t: Things):
    from gan_course.evaluation import evaluate
    return evaluate(**measuring(t))


def share_of_heat(t: Things) -> dict:
    share = gradcam.heat_share(noise(2, 8, 8).sigmoid(), noise(2, 8, 8) > 0)
    return {k: getattr(share, k) for k in ("heat", "area", "ratio", "elsewhere", "black", "without")}


def explained(t: Things):
    return gradcam.explain(t.D, t.birds, ["features.0"])


CALLS = CORE | GAME | DATA | NETWORKS | RUNS | MEASURES | VIEWS
REFUSED = {  # valid, but what they need is not here, which is said in one line
    "data.read_cifar10", "data.load_cifar10", "data.load_fashion_mnist", "features.load_inception",
    "features.Inception",
}
