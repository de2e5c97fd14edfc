"""space_of_trees.py REPOSITORY [SNAPSHOT...]: what deleting snapshots frees, by a walk of all trees."""

import json
import os
import sys

repository, *named = sys.argv[1:]
control = f"{repository}/.treering"
trees = {name: f"{repository}/{name}" for name in os.listdir(repository) if name[:2] == "20" and name[-1] == "Z"}
spares = os.listdir(f"{control}/spare")
trees |= {name: f"{control}/spare/{name}" for name in spares}
catalogs = {name: f"{control}/catalogs/{name}.catalog" for name in trees}
catalogs |= {name: f"{control}/{name}.spare" for name in spares}

inodes = {}


def see(path, tree):
    status = os.lstat(path)
    inode = inodes.setdefault(status.st_ino, {"status": status, "names": {}})
    inode["names"][tree] = inode["names"].get(tree, 0) + 1


for tree, top in trees.items():
    see(top, tree)
    for place, directories, files in os.walk(os.fsencode(top)):
        for name in directories + files:
            see(os.path.join(place, name), tree)


def freed(deleted):
    total = sum(os.stat(catalogs[tree]).st_blocks * 512 for tree in deleted)
    for inode in inodes.values():
        status, names = inode["status"], inode["names"]
        links = 1 if os.path.stat.S_ISDIR(status.st_mode) else status.st_nlink
        if sum(names.get(tree, 0) for tree in deleted) == links:
            total += status.st_blocks * 512
    return total


spare = freed(spares)
print(json.dumps({
    "alone": {tree: freed([tree, *spares]) - spare for tree in trees if tree not in spares},
    "spare": spare,
    "together": freed([*named, *spares]) - spare,
}))
